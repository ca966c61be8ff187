-- The stored cells of steps of these organizations.
-- Takes: execmetrics.organizations, .started_since, .started_until and .started_own, as expected_step_cells.sql does.
-- Gives: one row per cell with the columns of analytics.aggregate_step_metrics, without computed_at.
SELECT
    organization_id,
    period,
    period_start,
    workflow_id,
    step_name,
    total_executions,
    completed_executions,
    warned_executions,
    failed_executions,
    timed_executions,
    total_duration_ms,
    average_duration_ms,
    min_duration_ms,
    max_duration_ms,
    median_duration_ms,
    p90_duration_ms,
    p95_duration_ms,
    p99_duration_ms,
    histogram_buckets,
    histogram_counts,
    definition_version
FROM analytics.aggregate_step_metrics
WHERE
    organization_id IN (
        SELECT o.organization_id
        FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb) AS o (organization_id uuid)
    )
    AND period_start >= current_setting('execmetrics.started_since')::timestamptz
    AND period_start < current_setting('execmetrics.started_until')::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(current_setting('execmetrics.started_own')::jsonb)
            AS own (organization_id uuid, since timestamptz, until timestamptz)
        WHERE
            own.organization_id = aggregate_step_metrics.organization_id
            AND (aggregate_step_metrics.period_start < own.since OR aggregate_step_metrics.period_start >= own.until)
    )
