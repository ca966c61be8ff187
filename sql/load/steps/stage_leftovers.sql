-- Stage the removal of stored cells of steps that a complete recomputation did not give again.
-- Takes: the table staged_step_cells; organization_ids uuid[] and periods text[]: every cell of these was staged.
-- Gives: one row per cell that is left over.
INSERT INTO staged_step_cells
SELECT
    stored.organization_id, stored.period, stored.period_start, stored.workflow_id, stored.step_name,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL
FROM analytics.aggregate_step_metrics AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[]) AND stored.period = any(%(periods)s::text[])
    AND NOT EXISTS (
        SELECT
        FROM staged_step_cells AS staged
        WHERE
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.step_name = stored.step_name
    )
