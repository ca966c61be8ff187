-- Where each organization stands.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: organization_id, name, complete_through, cursor, jobs (counted), cells, anomalies (listed rows).
SELECT
    cursors.organization_id,
    coalesce(names.name, '') AS name,
    cursors.extracted_at AS complete_through,
    cursors.horizon AS cursor,
    coalesce(stored.jobs, 0)::bigint AS jobs,
    coalesce(stored.cells, 0) AS cells,
    coalesce(listed.anomalies, 0) AS anomalies
FROM analytics.extraction_cursors AS cursors
LEFT JOIN analytics.organizations AS names ON names.id = cursors.organization_id
LEFT JOIN (
    SELECT
        organization_id,
        count(*) AS cells,
        -- The months' totals count every job once.
        sum(total_executions) FILTER (
            WHERE period = 'month' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
            AND initiator_type = %(all_initiators)s
        ) AS jobs
    FROM analytics.aggregate_metrics
    GROUP BY organization_id
) AS stored ON stored.organization_id = cursors.organization_id
LEFT JOIN (
    SELECT organization_id, count(*) AS anomalies FROM analytics.job_anomalies GROUP BY organization_id
) AS listed ON listed.organization_id = cursors.organization_id
ORDER BY jobs DESC, cursors.organization_id
