-- Stage the removal of stored cells that a complete recomputation of their range did not give again.
-- Takes: the table staged_cells; organization_ids uuid[], periods text[], since and until timestamptz (bounds of
--        period_start, -infinity and infinity for none): every cell within was staged; reason text.
-- Gives: one row per cell that is left over.
INSERT INTO staged_cells
SELECT
    stored.organization_id, stored.period, stored.period_start, stored.workflow_id, stored.client_id,
    stored.initiator_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, %(reason)s
FROM analytics.aggregate_metrics AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[]) AND stored.period = any(%(periods)s::text[])
    AND stored.period_start >= %(since)s::timestamptz AND stored.period_start < %(until)s::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM staged_cells AS staged
        WHERE
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
    )
