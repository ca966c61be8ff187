-- The end of steps.sql that asks for older lines of jobs that were written since the cursor of their
-- organization: they may be deleted by now, or of another workflow.
-- Takes: execmetrics.cursors, as written.sql does; whoever has no horizon is read whole by that.
-- Gives: a line l, written before the horizon, of a job whose xmin is at or past the least of all horizons.
INNER JOIN jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
    AS cursors (organization_id uuid, horizon bigint) ON cursors.organization_id = l.organization_id
WHERE
    l.job_id IN (
        SELECT changed.id
        FROM orchestration.jobs AS changed
        WHERE
            (
                (
                    changed.xmin::text::bigint - (
                        SELECT min(known.horizon)
                        FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
                    )
                ) & 4294967295
            ) < 2147483648
    )
    AND ((l.xmin::text::bigint - cursors.horizon) & 4294967295) >= 2147483648
