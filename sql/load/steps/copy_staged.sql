-- Copy cells of steps that replace published ones into the staging table.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY staged_step_cells (
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
) FROM STDIN
