-- One tenant's stored rows of a period, in the order of their keys.
-- Takes: organization_id uuid, period text, since and until timestamptz (of period_start); workflow_id, client_id uuid
--        and initiator_type text: one, the sentinel of all, or NULL for each; after_start timestamptz, after_workflow
--        and after_client uuid, after_initiator text (the key of the last row that was taken, NULL for none); rows
--        bigint (how many at most).
-- Gives: period_start, workflow_id, client_id, initiator_type and the figures in the order of
--        analytics.aggregate_metrics.
SELECT
    period_start,
    workflow_id,
    client_id,
    initiator_type,
    total_executions,
    completed_executions,
    failed_executions,
    timed_executions,
    success_rate_pct,
    total_duration_ms,
    average_duration_ms,
    min_duration_ms,
    max_duration_ms,
    median_duration_ms,
    p90_duration_ms,
    p95_duration_ms,
    p99_duration_ms
FROM analytics.aggregate_metrics
WHERE
    organization_id = %(organization_id)s AND period = %(period)s
    AND period_start >= %(since)s AND period_start < %(until)s
    AND CASE WHEN %(workflow_id)s::uuid IS NULL THEN workflow_id <> %(all_workflows)s ELSE workflow_id = %(workflow_id)s END
    AND CASE WHEN %(client_id)s::uuid IS NULL THEN client_id <> %(all_clients)s ELSE client_id = %(client_id)s END
    AND CASE
        WHEN %(initiator_type)s::text IS NULL THEN initiator_type <> %(all_initiators)s
        ELSE initiator_type = %(initiator_type)s
    END
    AND (
        %(after_start)s::timestamptz IS NULL
        OR (period_start, workflow_id, client_id, initiator_type)
        > (%(after_start)s, %(after_workflow)s::uuid, %(after_client)s::uuid, %(after_initiator)s::text)
    )
ORDER BY period_start, workflow_id, client_id, initiator_type
LIMIT %(rows)s
