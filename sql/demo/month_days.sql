-- How many jobs each organization starts on each day.
-- Takes: seed bigint, since timestamptz, days int.
-- Gives: the temporary table month_days; all jobs of the month are numbered without a gap.
CREATE TEMPORARY TABLE month_days ON COMMIT DROP AS
WITH weighed AS (
    SELECT
        organization.rank,
        organization.jobs_before,
        organization.jobs_so_far,
        day,
        (ARRAY[115, 110, 105, 105, 95, 30, 20])[
            extract(isodow FROM (%(since)s::timestamptz + make_interval(days => day)) AT TIME ZONE 'UTC')::integer
        ] * (0.9 + 0.2 * pg_temp.draw(organization.rank, %(seed)s - day)) AS weight
    FROM month_organizations AS organization
    CROSS JOIN generate_series(0, %(days)s::integer - 1) AS day
),
cumulated AS (
    SELECT
        rank,
        day,
        jobs_before,
        jobs_before + round(
            (jobs_so_far - jobs_before)
            * sum(weight) OVER (PARTITION BY rank ORDER BY day) / sum(weight) OVER (PARTITION BY rank)
        )::bigint AS jobs_so_far
    FROM weighed
)
SELECT
    rank,
    day,
    1 + coalesce(lag(jobs_so_far) OVER (PARTITION BY rank ORDER BY day), jobs_before) AS first,
    jobs_so_far AS last
FROM cumulated
