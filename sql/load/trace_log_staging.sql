-- A place for the log lines of a trace before they meet the source's own, gone when the transaction ends.
-- Takes: nothing.
-- Gives: nothing that is read.
CREATE TEMPORARY TABLE trace_log_rows (
    job_id uuid NOT NULL,
    sequence integer NOT NULL,
    level text NOT NULL,
    timestamp timestamptz NOT NULL,
    step_name text,
    duration_ms double precision
) ON COMMIT DROP
