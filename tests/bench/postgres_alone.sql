-- What PostgreSQL alone needs for the same cells: grouping sets and one list of percentiles, in one statement.
-- Takes: organization_ids uuid[], NULL for all; the sentinels all_workflows, all_clients, no_client uuid,
--        all_initiators, unknown_initiator text.
-- Gives: the temporary table postgres_cells, columns as analytics.aggregate_metrics.
CREATE TEMPORARY TABLE postgres_cells ON COMMIT DROP AS
WITH counted AS (
    SELECT
        organization_id,
        date_trunc('hour', completed_at, 'UTC') AS hour_start,
        date_trunc('day', completed_at, 'UTC') AS day_start,
        date_trunc('week', completed_at, 'UTC') AS week_start,
        date_trunc('month', completed_at, 'UTC') AS month_start,
        workflow_id,
        coalesce(client_id, %(no_client)s) AS client_id,
        coalesce(initiator_type, %(unknown_initiator)s) AS initiator_type,
        status = 'COMPLETED' AS completed,
        CASE
            WHEN completed_at >= started_at THEN extract(EPOCH FROM completed_at - started_at)::double precision * 1000
        END AS duration_ms
    FROM orchestration.jobs
    WHERE
        status IN ('COMPLETED', 'FAILED') AND deleted_at IS NULL AND started_at IS NOT NULL
        AND (%(organization_ids)s::uuid[] IS NULL OR organization_id = any(%(organization_ids)s::uuid[]))
),
cells AS (
    SELECT
        organization_id,
        CASE
            WHEN grouping(hour_start) = 0 THEN 'hour'
            WHEN grouping(day_start) = 0 THEN 'day'
            WHEN grouping(week_start) = 0 THEN 'week'
            ELSE 'month'
        END AS period,
        coalesce(hour_start, day_start, week_start, month_start) AS period_start,
        CASE WHEN grouping(workflow_id) = 1 THEN %(all_workflows)s ELSE workflow_id END AS workflow_id,
        CASE WHEN grouping(client_id) = 1 THEN %(all_clients)s ELSE client_id END AS client_id,
        CASE WHEN grouping(initiator_type) = 1 THEN %(all_initiators)s ELSE initiator_type END AS initiator_type,
        count(*) AS total_executions,
        count(*) FILTER (WHERE completed) AS completed_executions,
        count(duration_ms) AS timed_executions,
        sum(duration_ms) AS total_duration_ms,
        avg(duration_ms) AS average_duration_ms,
        min(duration_ms) AS min_duration_ms,
        max(duration_ms) AS max_duration_ms,
        percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms) AS percentiles
    FROM counted
    GROUP BY
        organization_id,
        GROUPING SETS (
            (hour_start), (hour_start, workflow_id), (hour_start, client_id), (hour_start, initiator_type),
            (day_start), (day_start, workflow_id), (day_start, client_id), (day_start, initiator_type),
            (day_start, workflow_id, client_id), (day_start, workflow_id, initiator_type),
            (day_start, client_id, initiator_type),
            (week_start), (week_start, workflow_id), (week_start, client_id), (week_start, initiator_type),
            (week_start, workflow_id, client_id), (week_start, workflow_id, initiator_type),
            (week_start, client_id, initiator_type), (week_start, workflow_id, client_id, initiator_type),
            (month_start), (month_start, workflow_id), (month_start, client_id), (month_start, initiator_type),
            (month_start, workflow_id, client_id), (month_start, workflow_id, initiator_type),
            (month_start, client_id, initiator_type), (month_start, workflow_id, client_id, initiator_type)
        )
)
SELECT
    organization_id,
    period,
    period_start,
    workflow_id,
    client_id,
    initiator_type,
    total_executions,
    completed_executions,
    total_executions - completed_executions AS failed_executions,
    timed_executions,
    100.0::double precision * completed_executions / total_executions AS success_rate_pct,
    coalesce(total_duration_ms, 0) AS total_duration_ms,
    average_duration_ms,
    min_duration_ms,
    max_duration_ms,
    percentiles[1] AS median_duration_ms,
    percentiles[2] AS p90_duration_ms,
    percentiles[3] AS p95_duration_ms,
    percentiles[4] AS p99_duration_ms,
    now() AS computed_at
FROM cells
