-- Write what PostgreSQL alone computed as ours is written: sorted, identical rows left alone.
-- Takes: the temporary table postgres_cells.
-- Gives: one row per cell written.
INSERT INTO bench.aggregate_metrics AS stored
SELECT * FROM postgres_cells
ORDER BY organization_id, period, period_start, workflow_id, client_id, initiator_type
ON CONFLICT (organization_id, period, period_start, workflow_id, client_id, initiator_type) DO UPDATE
SET
    total_executions = excluded.total_executions,
    completed_executions = excluded.completed_executions,
    failed_executions = excluded.failed_executions,
    timed_executions = excluded.timed_executions,
    success_rate_pct = excluded.success_rate_pct,
    total_duration_ms = excluded.total_duration_ms,
    average_duration_ms = excluded.average_duration_ms,
    min_duration_ms = excluded.min_duration_ms,
    max_duration_ms = excluded.max_duration_ms,
    median_duration_ms = excluded.median_duration_ms,
    p90_duration_ms = excluded.p90_duration_ms,
    p95_duration_ms = excluded.p95_duration_ms,
    p99_duration_ms = excluded.p99_duration_ms,
    computed_at = excluded.computed_at
WHERE (
    stored.total_executions, stored.completed_executions, stored.timed_executions, stored.total_duration_ms,
    stored.min_duration_ms, stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms,
    stored.p95_duration_ms, stored.p99_duration_ms
) IS DISTINCT FROM (
    excluded.total_executions, excluded.completed_executions, excluded.timed_executions, excluded.total_duration_ms,
    excluded.min_duration_ms, excluded.max_duration_ms, excluded.median_duration_ms, excluded.p90_duration_ms,
    excluded.p95_duration_ms, excluded.p99_duration_ms
)
