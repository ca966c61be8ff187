-- Bring the log lines of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_log_rows; the jobs, whose organizations they have, are there already.
-- Gives: the number of rows written.
INSERT INTO orchestration.execution_logs AS l (
    id, organization_id, job_id, sequence, level, timestamp, step_name, duration_ms
)
SELECT
    -- Derived, so that the same line of another import is the same row.
    md5(t.job_id || ' ' || t.sequence)::uuid,
    j.organization_id,
    t.job_id,
    t.sequence,
    t.level::orchestration.log_level,
    t.timestamp,
    t.step_name,
    t.duration_ms
FROM trace_log_rows AS t
JOIN orchestration.jobs AS j ON j.id = t.job_id
ON CONFLICT (id, timestamp) DO UPDATE SET
    organization_id = excluded.organization_id,
    level = excluded.level,
    step_name = excluded.step_name,
    duration_ms = excluded.duration_ms
WHERE
    (l.organization_id, l.level, l.step_name, l.duration_ms)
    IS DISTINCT FROM (excluded.organization_id, excluded.level, excluded.step_name, excluded.duration_ms)
