-- Write the cells of organizations that have none, in the order in which they were copied: that of their keys.
-- Takes: the table first_cells; computed_at timestamptz, definition_version integer: of every cell.
-- Gives: one row per cell.
INSERT INTO analytics.aggregate_metrics (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts, computed_at, definition_version
)
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts, %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM first_cells
