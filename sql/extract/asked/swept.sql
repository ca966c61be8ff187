-- The end of jobs.sql that asks for the jobs written since their organization's cursor.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon}; a horizon of null, or an
--        organization that is not listed, means every job. execmetrics.scope, `all` or `listed`: the
--        latter leaves every organization out that is not listed.
-- Gives: a job j whose xmin is at or past the horizon; transaction ids wrap around at 32 bits, so that is
--        decided on their circle.
LEFT JOIN jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
    AS cursors (organization_id uuid, horizon bigint) ON cursors.organization_id = j.organization_id
WHERE
    -- These two are decided in the scan of jobs alone.
    (
        (SELECT current_setting('execmetrics.scope') = 'all')
        OR j.organization_id IN (
            SELECT listed.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS listed (organization_id uuid)
        )
    )
    AND (
        (
            (
                j.xmin::text::bigint - (
                    SELECT min(known.horizon)
                    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
                )
            ) & 4294967295
        ) < 2147483648
        OR j.organization_id NOT IN (
            SELECT known.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
                AS known (organization_id uuid, horizon bigint)
            WHERE known.horizon IS NOT NULL
        )
    )
    AND (
        cursors.horizon IS NULL
        OR ((j.xmin::text::bigint - cursors.horizon) & 4294967295) < 2147483648
    )
