-- Where recomputed cells of steps wait for the upsert; emptied by each commit, and gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_step_cells; a cell without executions says that no step is left in it.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_step_cells ON COMMIT DELETE ROWS AS
SELECT
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
FROM analytics.aggregate_step_metrics
WITH NO DATA
