-- The end of steps.sql that asks for older lines of jobs that were written since the cursor of their
-- organization: they may be deleted by now, or of another workflow.
-- Takes: execmetrics.cursors, as written.sql does; whoever has no horizon is read whole by that.
-- Gives: a line l, written before the horizon, of a job whose xmin is at or past the least of all horizons.
INNER JOIN (
    SELECT
        known.organization_id,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (organization_id uuid, horizon bigint)
) AS cursors ON cursors.organization_id = l.organization_id
WHERE
    l.job_id IN (
        SELECT changed.id
        FROM orchestration.jobs AS changed
        WHERE
            age(changed.xmin) <= (
                SELECT max(age((known.horizon & 4294967295)::text::xid))
                FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
            )
    )
    AND age(l.xmin) > cursors.oldest
