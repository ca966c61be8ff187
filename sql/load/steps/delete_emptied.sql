-- Remove the cells that no step is left in, unless their month was dropped from the source: those are sealed.
-- Takes: the table staged_step_cells; sealed_before timestamptz, -infinity for nothing.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_step_metrics AS stored
USING staged_step_cells AS staged
WHERE
    staged.total_executions = 0
    AND stored.period_start >= %(sealed_before)s::timestamptz
    AND staged.organization_id = stored.organization_id AND staged.period = stored.period
    AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
    AND staged.step_name = stored.step_name
