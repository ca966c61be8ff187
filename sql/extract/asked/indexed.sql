-- The end of jobs.sql that asks for the jobs updated since their organization's moment.
-- Takes: execmetrics.moments, a JSON array of {organization_id, since}; an organization that is not listed has
--        the earliest moment of all, and every job when none is listed. execmetrics.scope, `all` or
--        `listed`: the latter leaves every organization out that is not listed.
-- Gives: a job j whose updated_at is at or past the moment.
LEFT JOIN jsonb_to_recordset(current_setting('execmetrics.moments')::jsonb)
    AS moment (organization_id uuid, since timestamptz) ON moment.organization_id = j.organization_id
WHERE
    j.updated_at >= (
        SELECT coalesce(min(known.since), '-infinity')
        FROM jsonb_to_recordset(current_setting('execmetrics.moments')::jsonb) AS known (since timestamptz)
    )
    -- Always so: a range with two ends is taken for a small one, for which no other table is read whole.
    AND j.updated_at <= 'infinity'
    AND (moment.since IS NOT NULL OR (SELECT current_setting('execmetrics.scope') = 'all'))
    AND (moment.since IS NULL OR j.updated_at >= moment.since)
