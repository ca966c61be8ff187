-- The log lines of a trace.
-- Takes: lines in the text format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY trace_log_rows (job_id, sequence, level, timestamp, step_name, duration_ms) FROM STDIN
