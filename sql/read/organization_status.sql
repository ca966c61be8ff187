-- Where each organization stands.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: organization_id, name, time_zone, complete_through, verified_at (may be NULL), cursor, jobs (counted),
--        cells, anomalies (listed rows), failing (the class of what went wrong last, NULL when nothing did).
SELECT
    completeness.organization_id,
    coalesce(names.name, '') AS name,
    completeness.time_zone,
    completeness.complete_through,
    completeness.verified_at,
    cursors.horizon AS cursor,
    coalesce(stored.jobs, 0)::bigint AS jobs,
    coalesce(stored.cells, 0) AS cells,
    coalesce(listed.anomalies, 0) AS anomalies,
    (
        SELECT error_class
        FROM analytics.refresh_outcomes
        WHERE organization_id = completeness.organization_id
        ORDER BY finished_at DESC
        LIMIT 1
    ) AS failing
FROM analytics.completeness
INNER JOIN analytics.extraction_cursors AS cursors USING (organization_id)
LEFT JOIN analytics.organizations AS names ON names.id = completeness.organization_id
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
) AS stored ON stored.organization_id = completeness.organization_id
LEFT JOIN (
    SELECT organization_id, count(*) AS anomalies FROM analytics.job_anomalies GROUP BY organization_id
) AS listed ON listed.organization_id = completeness.organization_id
ORDER BY jobs DESC, completeness.organization_id
