-- One cell and its history.

-- name: cell
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

-- name: records
-- From when on it is on record how the cells of an organization changed.
-- Takes: organization_id uuid.
-- Gives: one row: first_published_at (the earliest sign that it was published; NULL for none) and removed_before
--        (older restatements were removed; NULL for none).
SELECT
    least(
        (
            SELECT min(computed_at) FROM analytics.aggregate_metrics
            WHERE organization_id = %(organization_id)s
        ),
        (
            SELECT min(coalesce(old_computed_at, restated_at)) FROM analytics.restatements
            WHERE organization_id = %(organization_id)s
        )
    ) AS first_published_at,
    (SELECT removed_before FROM analytics.retention WHERE period = 'restatements') AS removed_before

-- name: restatements
-- How one cell changed after its period was over, wherever its bucket begins.
-- Takes: organization_id uuid, period text, starts timestamptz[] (where it may begin), workflow_id uuid,
--        client_id uuid, initiator_type text.
-- Gives: one row per restatement, the oldest first: period_start, restated_at, run_id, reason, old_computed_at
--        (since when the figures before stood; may be NULL), the figures before and the figures after, each in the
--        order of analytics.aggregate_metrics.
SELECT
    period_start, restated_at, run_id, reason, old_computed_at,
    old_total_executions, old_completed_executions, old_failed_executions, old_timed_executions,
    old_success_rate_pct, old_total_duration_ms, old_average_duration_ms, old_min_duration_ms,
    old_max_duration_ms, old_median_duration_ms, old_p90_duration_ms, old_p95_duration_ms,
    old_p99_duration_ms,
    new_total_executions, new_completed_executions, new_failed_executions, new_timed_executions,
    new_success_rate_pct, new_total_duration_ms, new_average_duration_ms, new_min_duration_ms,
    new_max_duration_ms, new_median_duration_ms, new_p90_duration_ms, new_p95_duration_ms,
    new_p99_duration_ms
FROM analytics.restatements
WHERE
    organization_id = %(organization_id)s AND period = %(period)s AND period_start = any(%(starts)s::timestamptz[])
    AND workflow_id = %(workflow_id)s AND client_id = %(client_id)s AND initiator_type = %(initiator_type)s
ORDER BY restated_at, run_id
