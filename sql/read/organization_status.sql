-- Where each organization stands that was ever published, or tried.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text, withheld text (the class of deletes that are).
-- Gives: organization_id, name, time_zone, complete_through, verified_at, cursor (these four may be NULL), jobs
--        (counted), cells, anomalies (listed rows), failing and steps_failing (what went wrong last with the jobs
--        and with the steps, NULL when nothing did).
SELECT
    organization_id,
    coalesce(names.name, '') AS name,
    completeness.time_zone,
    completeness.complete_through,
    completeness.verified_at,
    cursors.horizon AS cursor,
    coalesce(stored.jobs, 0)::bigint AS jobs,
    coalesce(stored.cells, 0) AS cells,
    coalesce(listed.anomalies, 0) AS anomalies,
    coalesce(newest.of_jobs, CASE WHEN completeness.withheld_at IS NOT NULL THEN %(withheld)s END) AS failing,
    coalesce(newest.of_steps, CASE WHEN steps.withheld_at IS NOT NULL THEN %(withheld)s END) AS steps_failing
FROM analytics.completeness
FULL JOIN (
    SELECT
        organization_id,
        max(error_class) FILTER (WHERE subject = 'jobs') AS of_jobs,
        max(error_class) FILTER (WHERE subject = 'steps') AS of_steps
    FROM (
        SELECT DISTINCT ON (organization_id, subject) organization_id, subject, error_class
        FROM analytics.refresh_outcomes
        ORDER BY organization_id, subject, finished_at DESC
    ) AS newest_of_each
    GROUP BY organization_id
) AS newest USING (organization_id)
LEFT JOIN analytics.step_completeness AS steps USING (organization_id)
LEFT JOIN analytics.extraction_cursors AS cursors USING (organization_id)
LEFT JOIN analytics.organizations AS names ON names.id = organization_id
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
) AS stored USING (organization_id)
LEFT JOIN (
    SELECT organization_id, count(*) AS anomalies FROM analytics.job_anomalies GROUP BY organization_id
) AS listed USING (organization_id)
ORDER BY jobs DESC, organization_id
