-- Write the staged cells of steps that are new, differ or are of another definition, in key order so that
-- concurrent writers cannot deadlock. A sealed cell, whose month was dropped from the source, loses no step.
-- Takes: the table staged_step_cells; computed_at timestamptz, definition_version integer: of every cell;
--        sealed_before timestamptz, -infinity for nothing.
-- Gives: one row per cell written; identical cells are left alone, and one that only its definition tells
--        apart keeps the time at which it last changed.
INSERT INTO analytics.aggregate_step_metrics AS stored (
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts,
    computed_at, definition_version
)
SELECT
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts,
    %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM staged_step_cells
WHERE total_executions > 0
ORDER BY organization_id, period, period_start, workflow_id, step_name
ON CONFLICT (organization_id, period, period_start, workflow_id, step_name) DO UPDATE
SET
    total_executions = excluded.total_executions,
    completed_executions = excluded.completed_executions,
    warned_executions = excluded.warned_executions,
    failed_executions = excluded.failed_executions,
    timed_executions = excluded.timed_executions,
    total_duration_ms = excluded.total_duration_ms,
    average_duration_ms = excluded.average_duration_ms,
    min_duration_ms = excluded.min_duration_ms,
    max_duration_ms = excluded.max_duration_ms,
    median_duration_ms = excluded.median_duration_ms,
    p90_duration_ms = excluded.p90_duration_ms,
    p95_duration_ms = excluded.p95_duration_ms,
    p99_duration_ms = excluded.p99_duration_ms,
    histogram_buckets = excluded.histogram_buckets,
    histogram_counts = excluded.histogram_counts,
    computed_at = CASE WHEN (
        stored.total_executions, stored.completed_executions, stored.warned_executions, stored.failed_executions,
        stored.timed_executions, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
        stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
        stored.p99_duration_ms
    ) IS DISTINCT FROM (
        excluded.total_executions, excluded.completed_executions, excluded.warned_executions,
        excluded.failed_executions, excluded.timed_executions, excluded.total_duration_ms,
        excluded.average_duration_ms, excluded.min_duration_ms, excluded.max_duration_ms,
        excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms, excluded.p99_duration_ms
    ) THEN excluded.computed_at ELSE stored.computed_at END,
    definition_version = excluded.definition_version
WHERE (
    stored.total_executions, stored.completed_executions, stored.warned_executions, stored.failed_executions,
    stored.timed_executions, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
    stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
    stored.p99_duration_ms, stored.histogram_buckets, stored.histogram_counts, stored.definition_version
) IS DISTINCT FROM (
    excluded.total_executions, excluded.completed_executions, excluded.warned_executions, excluded.failed_executions,
    excluded.timed_executions, excluded.total_duration_ms, excluded.average_duration_ms, excluded.min_duration_ms,
    excluded.max_duration_ms, excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms,
    excluded.p99_duration_ms, excluded.histogram_buckets, excluded.histogram_counts, excluded.definition_version
) AND (
    stored.period_start >= %(sealed_before)s::timestamptz OR excluded.total_executions >= stored.total_executions
)
