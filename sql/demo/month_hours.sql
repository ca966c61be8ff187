-- When work happens: clinics by their own clock, files at night, laboratories always; little at the weekend.
-- Takes: since timestamptz, days int.
-- Gives: the temporary table month_hours, one row per time zone, rhythm and UTC day; below_shares says which part of
-- the day's work comes before each of its hours 1 to 23.
CREATE TEMPORARY TABLE month_hours ON COMMIT DROP AS
WITH hours AS (
    SELECT
        zone.time_zone,
        rhythm.rhythm,
        day,
        hour,
        rhythm.weights[1 + extract(hour FROM (
            %(since)s::timestamptz + make_interval(days => day, hours => hour)
        ) AT TIME ZONE zone.time_zone)::integer] AS weight
    FROM (SELECT DISTINCT time_zone FROM month_organizations) AS zone
    CROSS JOIN (
        VALUES
            ('office', ARRAY[
                2, 1, 1, 1, 2, 5, 20, 60, 120, 160, 170, 150, 110, 140, 160, 140, 110, 60, 35, 25, 20, 15, 8, 4
            ]),
            ('night', ARRAY[
                60, 140, 180, 160, 90, 40, 20, 10, 8, 8, 8, 8, 8, 8, 8, 8, 10, 12, 15, 20, 25, 30, 35, 45
            ]),
            ('always', ARRAY[
                40, 38, 36, 36, 40, 50, 70, 90, 100, 105, 105, 100, 95, 95, 95, 95, 90, 85, 75, 65, 60, 55, 50, 45
            ])
    ) AS rhythm (rhythm, weights)
    CROSS JOIN generate_series(0, %(days)s::integer - 1) AS day
    CROSS JOIN generate_series(0, 23) AS hour
),
shares AS (
    SELECT
        time_zone,
        rhythm,
        day,
        hour,
        sum(weight) OVER (PARTITION BY time_zone, rhythm, day ORDER BY hour)::double precision
            / sum(weight) OVER (PARTITION BY time_zone, rhythm, day) AS share_so_far
    FROM hours
)
SELECT time_zone, rhythm, day, array_agg(share_so_far ORDER BY hour) FILTER (WHERE hour < 23) AS below_shares
FROM shares
GROUP BY time_zone, rhythm, day
