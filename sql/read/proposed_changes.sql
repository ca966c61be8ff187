-- Which stored cells the staged ones would change, the largest changes of each organization first; a cell may
-- have been staged more than once.
-- Takes: the table staged_cells; rows integer: how many of each organization.
-- Gives: organization_id, period, period_start, workflow_id, client_id, initiator_type, then the old and the new
--        total_executions, success_rate_pct and median_duration_ms (NULL for no cell), and cells, how many of the
--        organization would change in all.
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    old_total_executions, new_total_executions, old_success_rate_pct, new_success_rate_pct,
    old_median_duration_ms, new_median_duration_ms, cells
FROM (
    SELECT
        staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id,
        staged.initiator_type,
        stored.total_executions AS old_total_executions,
        nullif(staged.total_executions, 0) AS new_total_executions,
        stored.success_rate_pct AS old_success_rate_pct,
        CASE WHEN staged.total_executions > 0 THEN staged.success_rate_pct END AS new_success_rate_pct,
        stored.median_duration_ms AS old_median_duration_ms,
        CASE WHEN staged.total_executions > 0 THEN staged.median_duration_ms END AS new_median_duration_ms,
        count(*) OVER (PARTITION BY staged.organization_id) AS cells,
        row_number() OVER (
            PARTITION BY staged.organization_id
            ORDER BY
                abs(staged.total_executions - coalesce(stored.total_executions, 0)) DESC,
                abs(staged.completed_executions - coalesce(stored.completed_executions, 0)) DESC,
                abs(coalesce(staged.median_duration_ms, 0) - coalesce(stored.median_duration_ms, 0)) DESC,
                staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type
        ) AS place
    FROM (
        SELECT DISTINCT ON (organization_id, period, period_start, workflow_id, client_id, initiator_type) *
        FROM staged_cells
    ) AS staged
    LEFT JOIN analytics.aggregate_metrics AS stored
        ON
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
    WHERE
        coalesce(stored.total_executions, 0) + staged.total_executions > 0
        AND (
            stored.total_executions, stored.completed_executions, stored.timed_executions,
            stored.total_duration_ms, stored.min_duration_ms, stored.max_duration_ms,
            stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms, stored.p99_duration_ms
        ) IS DISTINCT FROM (
            staged.total_executions, staged.completed_executions, staged.timed_executions,
            staged.total_duration_ms, staged.min_duration_ms, staged.max_duration_ms,
            staged.median_duration_ms, staged.p90_duration_ms, staged.p95_duration_ms, staged.p99_duration_ms
        )
) AS changed
WHERE place <= %(rows)s
ORDER BY organization_id, place
