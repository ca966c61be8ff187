-- The workflow that failed most beyond its own habit for some hours on end.
-- Takes: month timestamptz, all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: at most one row: organization_id, organization, workflow_id, workflow, since and until timestamptz,
--        failed_executions and total_executions between them, failed_pct between them, usual_failed_pct
--        in the rest of the month.
WITH hours AS (
    SELECT
        organization_id,
        workflow_id,
        period_start,
        total_executions AS total,
        failed_executions AS failed,
        sum(total_executions) OVER whole AS month_total,
        sum(failed_executions) OVER whole AS month_failed
    FROM analytics.aggregate_metrics
    WHERE
        period = 'hour'
        AND period_start >= %(month)s AND period_start < %(month)s + interval '1 month'
        AND workflow_id <> %(all_workflows)s AND client_id = %(all_clients)s AND initiator_type = %(all_initiators)s
    WINDOW whole AS (PARTITION BY organization_id, workflow_id)
),
-- An hour is bad when it failed over three times as often as the whole month. Counting the other hours up to it
-- numbers the stretches of bad ones.
judged AS (
    SELECT
        *,
        failed * month_total > 3 * month_failed * total AS bad,
        count(*) FILTER (WHERE failed * month_total <= 3 * month_failed * total) OVER (
            PARTITION BY organization_id, workflow_id ORDER BY period_start
        ) AS stretch
    FROM hours
),
stretches AS (
    SELECT
        organization_id,
        workflow_id,
        min(period_start) AS since,
        max(period_start) + interval '1 hour' AS until,
        sum(failed) AS failed,
        sum(total) AS total,
        min(month_failed) AS month_failed,
        min(month_total) AS month_total
    FROM judged
    WHERE bad
    GROUP BY organization_id, workflow_id, stretch
)
SELECT
    stretches.organization_id,
    coalesce(organizations.name, '') AS organization,
    stretches.workflow_id,
    coalesce(workflows.name, '') AS workflow,
    stretches.since,
    stretches.until,
    stretches.failed::bigint AS failed_executions,
    stretches.total::bigint AS total_executions,
    (100.0 * stretches.failed / stretches.total)::double precision AS failed_pct,
    coalesce(
        100.0 * (month_failed - failed) / nullif(month_total - total, 0), 0
    )::double precision AS usual_failed_pct
FROM stretches
LEFT JOIN analytics.organizations ON organizations.id = stretches.organization_id
LEFT JOIN analytics.workflows ON workflows.id = stretches.workflow_id
ORDER BY
    -- More failures than habit explains, in standard deviations of what it explains.
    (failed - total * month_failed / month_total) / sqrt(total * month_failed / month_total) DESC,
    stretches.workflow_id
LIMIT 1
