-- One stored cell, wherever its bucket begins.
-- Takes: organization_id uuid, period text, starts timestamptz[] (where it may begin), workflow_id uuid,
--        client_id uuid, initiator_type text.
-- Gives: one row per start that has a cell: period_start, computed_at, definition_version and the figures in
--        the order of analytics.aggregate_metrics.
SELECT
    period_start, computed_at, definition_version,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms,
    max_duration_ms, median_duration_ms, p90_duration_ms, p95_duration_ms,
    p99_duration_ms
FROM analytics.aggregate_metrics
WHERE
    organization_id = %(organization_id)s AND period = %(period)s AND period_start = any(%(starts)s::timestamptz[])
    AND workflow_id = %(workflow_id)s AND client_id = %(client_id)s AND initiator_type = %(initiator_type)s
