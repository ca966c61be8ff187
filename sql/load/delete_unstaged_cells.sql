-- Remove the cells of organizations of which every cell was staged that are not among the staged ones.
-- Takes: the table staged_cells; organization_ids uuid[].
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_metrics AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[])
    AND NOT EXISTS (
        SELECT
        FROM staged_cells AS staged
        WHERE
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
    )
