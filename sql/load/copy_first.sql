-- Copy cells of organizations without any into their staging table: nobody may copy into a table with
-- row-level security.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY first_cells (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
) FROM STDIN
