-- Where cells of organizations without any wait for a moment; gone with the session.
-- Takes: nothing.
-- Gives: the empty table first_cells.
CREATE TEMPORARY TABLE IF NOT EXISTS first_cells ON COMMIT DELETE ROWS AS
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
FROM analytics.aggregate_metrics
WITH NO DATA
