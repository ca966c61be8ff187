-- New lines of logs.
-- Takes: rows in the binary format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY orchestration.execution_logs (
    id, organization_id, job_id, sequence, timestamp, duration_ms, level, step_name, message, metadata
) FROM STDIN (FORMAT binary)
