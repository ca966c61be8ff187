-- How many lines of each level one job's log has.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since and until timestamptz.
-- Gives: one row per level that has a line: level, lines.
SELECT
    level::text AS level,
    count(*) AS lines
FROM ({visible}) AS lines
GROUP BY level
