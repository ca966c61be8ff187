-- Delete the lines that a trace has at another time now: a line's time is a part of its key.
-- Takes: trace_log_rows.
-- Gives: nothing that is read.
DELETE FROM orchestration.execution_logs AS l
USING trace_log_rows AS t
WHERE
    l.job_id = t.job_id
    AND l.id = md5(t.job_id || ' ' || t.sequence)::uuid
    AND l.timestamp <> t.timestamp
