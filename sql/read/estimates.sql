-- Between which buckets of durations each percentile lies; put in place of {estimates}.
-- Takes: a CTE told (key, timed_executions, min_duration_ms, max_duration_ms, histogram_buckets, histogram_counts of
--        cells); shares numeric[]: of the percentiles.
-- Gives: CTEs, the last of them estimates: one row per key, with told_executions, how many jobs the buckets have, and
--        low and high, the numbers of the buckets around each percentile.
buckets AS (
    SELECT key, number, sum(jobs) AS jobs
    FROM (
        -- Two lists side by side take less time than a join with them.
        SELECT key, unnest(histogram_buckets) AS number, unnest(histogram_counts) AS jobs
        FROM told
        UNION ALL
        -- One or two jobs are told by the shortest and the longest.
        SELECT
            told.key,
            CASE
                WHEN extreme.ms = 0 THEN -1
                ELSE ceil(ln(round(extreme.ms * 1000)) / ln(1.02::double precision))
            END::smallint,
            1
        FROM told
        CROSS JOIN LATERAL (VALUES (told.min_duration_ms, 1), (told.max_duration_ms, 2)) AS extreme (ms, timed)
        WHERE told.timed_executions BETWEEN extreme.timed AND 2
    ) AS bucket
    GROUP BY key, number
),
ranked AS (
    SELECT key, number, sum(jobs) OVER (PARTITION BY key ORDER BY number) AS up_to
    FROM buckets
),
piled AS (
    SELECT
        key, array_agg(number ORDER BY number) AS numbers, array_agg(up_to ORDER BY number) AS up_to,
        max(up_to) AS told_executions
    FROM ranked
    GROUP BY key
),
estimates AS MATERIALIZED (
    SELECT
        key,
        told_executions::bigint AS told_executions,
        ARRAY(
            -- How many buckets end before the job of that rank: the next one has it.
            SELECT piled.numbers[1 + width_bucket(floor(share * (piled.told_executions - 1)), piled.up_to)]
            FROM unnest(%(shares)s::numeric[]) WITH ORDINALITY AS wanted (share, place)
            ORDER BY place
        ) AS low,
        ARRAY(
            SELECT piled.numbers[1 + width_bucket(ceil(share * (piled.told_executions - 1)), piled.up_to)]
            FROM unnest(%(shares)s::numeric[]) WITH ORDINALITY AS wanted (share, place)
            ORDER BY place
        ) AS high
    FROM piled
)
