-- Keep the figures of cells that change although their period was over when it was last published, or that
-- were not ours, whether it was over or not.
-- Takes: the table staged_cells; run_id uuid; organization_ids uuid[], periods text[] and open_since
--        timestamptz[]: the bucket of each period that was not over yet, for organizations published before.
-- Gives: one row per cell; figures are NULL where there was no cell, or is none any more.
INSERT INTO analytics.restatements AS kept (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    reason, run_id, restated_at, old_computed_at,
    old_total_executions, old_completed_executions, old_failed_executions, old_timed_executions,
    old_success_rate_pct, old_total_duration_ms, old_average_duration_ms, old_min_duration_ms,
    old_max_duration_ms, old_median_duration_ms, old_p90_duration_ms, old_p95_duration_ms,
    old_p99_duration_ms,
    new_total_executions, new_completed_executions, new_failed_executions, new_timed_executions,
    new_success_rate_pct, new_total_duration_ms, new_average_duration_ms, new_min_duration_ms,
    new_max_duration_ms, new_median_duration_ms, new_p90_duration_ms, new_p95_duration_ms,
    new_p99_duration_ms
)
SELECT
    staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type,
    staged.reason, %(run_id)s, now(), stored.computed_at,
    stored.total_executions, stored.completed_executions, stored.failed_executions, stored.timed_executions,
    stored.success_rate_pct, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
    stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
    stored.p99_duration_ms,
    CASE WHEN staged.total_executions > 0 THEN staged.total_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.completed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.failed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.timed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.success_rate_pct END,
    CASE WHEN staged.total_executions > 0 THEN staged.total_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.average_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.min_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.max_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.median_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p90_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p95_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p99_duration_ms END
FROM staged_cells AS staged
INNER JOIN unnest(%(organization_ids)s::uuid[], %(periods)s::text[], %(open_since)s::timestamptz[])
    AS published (organization_id, period, open_since)
    ON published.organization_id = staged.organization_id AND published.period = staged.period
LEFT JOIN analytics.aggregate_metrics AS stored
    ON
        staged.organization_id = stored.organization_id AND staged.period = stored.period
        AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
        AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
WHERE
    (staged.period_start < published.open_since OR staged.reason = 'drift')
    AND coalesce(stored.total_executions, 0) + staged.total_executions > 0
    AND (
        stored.total_executions, stored.completed_executions, stored.failed_executions,
        stored.timed_executions, stored.success_rate_pct, stored.total_duration_ms,
        stored.average_duration_ms, stored.min_duration_ms, stored.max_duration_ms,
        stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms, stored.p99_duration_ms
    ) IS DISTINCT FROM (
        staged.total_executions, staged.completed_executions, staged.failed_executions,
        staged.timed_executions, staged.success_rate_pct, staged.total_duration_ms,
        staged.average_duration_ms, staged.min_duration_ms, staged.max_duration_ms,
        staged.median_duration_ms, staged.p90_duration_ms, staged.p95_duration_ms, staged.p99_duration_ms
    )
ORDER BY staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type
ON CONFLICT (organization_id, period, period_start, workflow_id, client_id, initiator_type, run_id) DO UPDATE
SET
    new_total_executions = excluded.new_total_executions,
    new_completed_executions = excluded.new_completed_executions,
    new_failed_executions = excluded.new_failed_executions,
    new_timed_executions = excluded.new_timed_executions,
    new_success_rate_pct = excluded.new_success_rate_pct,
    new_total_duration_ms = excluded.new_total_duration_ms,
    new_average_duration_ms = excluded.new_average_duration_ms,
    new_min_duration_ms = excluded.new_min_duration_ms,
    new_max_duration_ms = excluded.new_max_duration_ms,
    new_median_duration_ms = excluded.new_median_duration_ms,
    new_p90_duration_ms = excluded.new_p90_duration_ms,
    new_p95_duration_ms = excluded.new_p95_duration_ms,
    new_p99_duration_ms = excluded.new_p99_duration_ms,
    restated_at = excluded.restated_at
