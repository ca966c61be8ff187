-- Lines of logs as steps are judged and kept: one statement for all organizations, ended by what is asked for.
-- Takes: the expressions step_counts.sql and step_hash.sql and one of steps_asked/*.sql, in their places, with
--        what those take.
-- Gives: one row per line, contract columns only; no message, no metadata. A time that other programs cannot
--        hold (infinite, or outside years 1-9999) is NULL, and so is a duration of more than 30,000 years.
SELECT
    l.id AS log_id,
    l.organization_id,
    l.job_id,
    j.workflow_id,
    left(l.step_name::text, 200) AS step_name,
    l.level::text AS level,
    CASE WHEN l.timestamp >= '0001-01-01Z' AND l.timestamp < '10000-01-01Z' THEN l.timestamp END AS completed_at,
    CASE WHEN abs(l.duration_ms) < 1e15 THEN floor(l.duration_ms * 1000 + 0.5)::bigint END AS duration_us,
    {row_hash} AS row_hash,
    coalesce({counts}, false) AS counts
FROM orchestration.execution_logs AS l
LEFT JOIN orchestration.jobs AS j ON j.id = l.job_id
{asked}
