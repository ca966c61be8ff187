-- One tenant's figures over a range for each of its workflows in use, those that take longest first.
-- Takes: what summed.sql does, which is put in place of {summed}; workflow_id is NULL, the others are not.
-- Gives: one row per workflow: workflow_id, name, the columns of sums and low and high of estimates, NULL when
--        nothing was counted.
WITH {summed}
SELECT
    known.id AS workflow_id,
    known.name,
    sums.total_executions,
    sums.completed_executions,
    sums.failed_executions,
    sums.timed_executions,
    sums.total_duration_ms,
    sums.min_duration_ms,
    sums.max_duration_ms,
    sums.median_duration_ms,
    sums.p90_duration_ms,
    sums.p95_duration_ms,
    sums.p99_duration_ms,
    estimates.low,
    estimates.high
FROM analytics.workflows AS known
LEFT JOIN sums ON sums.workflow_id = known.id
LEFT JOIN estimates ON estimates.workflow_id = known.id
WHERE known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
ORDER BY sums.total_duration_ms / nullif(sums.timed_executions, 0) DESC NULLS LAST, known.name, known.id
