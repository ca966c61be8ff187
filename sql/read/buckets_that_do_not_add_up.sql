-- In how many buckets the counts of one dimension's rows do not add up to those of the total's row.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text; periods text[]: those that are broken down;
--        definition_version integer: the one that says so. Organizations of another wait to be computed anew.
-- Gives: one row: buckets bigint.
SELECT count(*) AS buckets
FROM (
    SELECT
        sum(total_executions) FILTER (WHERE dimensions = '') AS total,
        sum(total_executions) FILTER (WHERE dimensions = 'workflow') AS total_of_workflows,
        sum(total_executions) FILTER (WHERE dimensions = 'client') AS total_of_clients,
        sum(total_executions) FILTER (WHERE dimensions = 'initiator') AS total_of_initiators,
        sum(completed_executions) FILTER (WHERE dimensions = '') AS completed,
        sum(completed_executions) FILTER (WHERE dimensions = 'workflow') AS completed_of_workflows,
        sum(completed_executions) FILTER (WHERE dimensions = 'client') AS completed_of_clients,
        sum(completed_executions) FILTER (WHERE dimensions = 'initiator') AS completed_of_initiators
    FROM analytics.aggregate_metrics
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN workflow_id = %(all_workflows)s THEN '' ELSE 'workflow' END
            || CASE WHEN client_id = %(all_clients)s THEN '' ELSE 'client' END
            || CASE WHEN initiator_type = %(all_initiators)s THEN '' ELSE 'initiator' END AS dimensions
    ) AS broken_down
    WHERE
        period = any(%(periods)s::text[])
        AND organization_id IN (
            SELECT organization_id
            FROM analytics.completeness
            WHERE definition_version = %(definition_version)s AND rebuilding_version IS NULL
        )
    GROUP BY organization_id, period, period_start
) AS bucket
WHERE
    (total, completed) IS DISTINCT FROM (total_of_workflows, completed_of_workflows)
    OR (total, completed) IS DISTINCT FROM (total_of_clients, completed_of_clients)
    OR (total, completed) IS DISTINCT FROM (total_of_initiators, completed_of_initiators)
