-- The organizations with the most jobs in a month, for a first look at the figures.
-- The month begins at each organization's own midnight: at most fourteen hours before UTC's, or twelve after it.
-- Takes: month timestamptz, rows integer, all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: one row per organization, the biggest first: organization_id, name, total_executions,
--        success_rate_pct, median_duration_ms, p95_duration_ms.
SELECT
    cells.organization_id,
    coalesce(names.name, '') AS name,
    cells.total_executions,
    cells.success_rate_pct,
    cells.median_duration_ms,
    cells.p95_duration_ms
FROM analytics.aggregate_metrics AS cells
LEFT JOIN analytics.organizations AS names ON names.id = cells.organization_id
WHERE
    cells.period = 'month'
    AND cells.period_start BETWEEN %(month)s - interval '14 hours' AND %(month)s + interval '12 hours'
    AND cells.workflow_id = %(all_workflows)s AND cells.client_id = %(all_clients)s
    AND cells.initiator_type = %(all_initiators)s
ORDER BY cells.total_executions DESC, cells.organization_id
LIMIT %(rows)s
