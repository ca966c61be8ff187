-- One tenant's figures over a range, of everything or of one workflow, client or initiator type.
-- Takes: what summed.sql does, which is put in place of {summed}; none of the dimensions is NULL.
-- Gives: one row: visible (whether the workflow is the tenant's and in use), the columns of sums and low and high of
--        estimates, NULL when nothing was counted.
WITH {summed}
SELECT
    %(workflow_id)s::uuid = %(all_workflows)s OR EXISTS (
        SELECT
        FROM analytics.workflows AS known
        WHERE known.id = %(workflow_id)s AND known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
    ) AS visible,
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
FROM (SELECT) AS one_row
LEFT JOIN sums ON true
LEFT JOIN estimates ON true
