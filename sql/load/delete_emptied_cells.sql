-- Remove the cells that no job is left in.
-- Takes: the table staged_cells.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_metrics AS stored
USING staged_cells AS staged
WHERE
    staged.total_executions = 0
    AND staged.organization_id = stored.organization_id AND staged.period = stored.period
    AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
    AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
