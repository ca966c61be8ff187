-- The end of jobs.sql that asks for the jobs written since their organization's cursor.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon}; a horizon of null, or an
--        organization that is not listed, means every job. execmetrics.scope, `all` or `listed`: the
--        latter leaves every organization out that is not listed.
-- Gives: a job j whose xmin is at or past the horizon; transaction ids wrap around at 32 bits, so that is
--        decided by their age, which no conversion to text makes slow.
LEFT JOIN (
    SELECT
        known.organization_id,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (organization_id uuid, horizon bigint)
) AS cursors ON cursors.organization_id = j.organization_id
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
        age(j.xmin) <= (
            SELECT max(age((known.horizon & 4294967295)::text::xid))
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
        )
        OR j.organization_id NOT IN (
            SELECT known.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
                AS known (organization_id uuid, horizon bigint)
            WHERE known.horizon IS NOT NULL
        )
    )
    AND (cursors.oldest IS NULL OR age(j.xmin) <= cursors.oldest)
