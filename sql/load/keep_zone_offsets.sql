-- Replace the kept rules of time zones by those that the source told.
-- Takes: time_zone text[], since timestamptz[], offset_s integer[]: every row of every zone that is replaced.
-- Gives: one row per offset that is new or differs.
WITH told AS MATERIALIZED (
    SELECT time_zone, since, offset_s
    FROM unnest(%(time_zone)s::text[], %(since)s::timestamptz[], %(offset_s)s::integer[])
        AS told (time_zone, since, offset_s)
),
repealed AS (
    DELETE FROM analytics.time_zone_offsets AS kept
    WHERE
        kept.time_zone IN (SELECT told.time_zone FROM told)
        AND NOT EXISTS (SELECT FROM told WHERE told.time_zone = kept.time_zone AND told.since = kept.since)
)
INSERT INTO analytics.time_zone_offsets AS kept (time_zone, since, offset_s)
SELECT time_zone, since, offset_s
FROM told
ORDER BY time_zone, since
ON CONFLICT (time_zone, since) DO UPDATE
SET offset_s = excluded.offset_s
WHERE kept.offset_s <> excluded.offset_s
