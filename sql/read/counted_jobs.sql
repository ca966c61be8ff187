-- How many jobs are counted, organization by organization: the months' totals hold each once.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: one row per organization: organization_id, jobs bigint.
SELECT organization_id, sum(total_executions)::bigint AS jobs
FROM analytics.aggregate_metrics
WHERE
    period = 'month' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
    AND initiator_type = %(all_initiators)s
GROUP BY organization_id
