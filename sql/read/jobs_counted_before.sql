-- How many jobs are counted in the days that begin before a moment, organization by organization.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text, before timestamptz.
-- Gives: one row per organization: organization_id, jobs bigint.
SELECT organization_id, sum(total_executions)::bigint AS jobs
FROM analytics.aggregate_metrics
WHERE
    period = 'day' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
    AND initiator_type = %(all_initiators)s AND period_start < %(before)s
GROUP BY organization_id
