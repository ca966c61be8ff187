-- In how many buckets the counts of one dimension's rows do not add up to those of the total's row.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: one row: buckets bigint.
SELECT count(*) AS buckets
FROM (
    SELECT
        sum(total_executions) FILTER (WHERE by_workflow + by_client + by_initiator = 0) AS whole,
        sum(total_executions) FILTER (WHERE by_workflow > by_client + by_initiator) AS workflows,
        sum(total_executions) FILTER (WHERE by_client > by_workflow + by_initiator) AS clients,
        sum(total_executions) FILTER (WHERE by_initiator > by_workflow + by_client) AS initiators,
        sum(completed_executions) FILTER (WHERE by_workflow + by_client + by_initiator = 0) AS completed,
        sum(completed_executions) FILTER (WHERE by_workflow > by_client + by_initiator) AS completed_workflows
    FROM analytics.aggregate_metrics
    CROSS JOIN LATERAL (
        SELECT
            (workflow_id <> %(all_workflows)s)::integer AS by_workflow,
            (client_id <> %(all_clients)s)::integer AS by_client,
            (initiator_type <> %(all_initiators)s)::integer AS by_initiator
    ) AS broken_down
    GROUP BY organization_id, period, period_start
) AS bucket
WHERE
    whole IS DISTINCT FROM workflows
    OR whole IS DISTINCT FROM clients
    OR whole IS DISTINCT FROM initiators
    OR completed IS DISTINCT FROM completed_workflows
