-- The end of jobs.sql that asks for every job of some organizations' UTC days of creation.
-- Takes: execmetrics.organization_ids uuid[] and, pairwise, execmetrics.days date[].
-- Gives: a job j that its organization created on such a day.
WHERE
    -- From the first day to the last, by an index on created_at where there is one.
    j.created_at >= (
        SELECT min(asked.day)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    AND j.created_at < (
        SELECT (max(asked.day) + 1)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    -- IS TRUE keeps it a look into a hash table: as a join it would read an organization once for each day.
    AND (
        (j.organization_id, (j.created_at AT TIME ZONE 'UTC')::date) IN (
            SELECT
                asked.organization_id,
                asked.day
            FROM
                unnest(
                    current_setting('execmetrics.organization_ids')::uuid[],
                    current_setting('execmetrics.days')::date[]
                ) AS asked (organization_id, day)
        )
    ) IS TRUE
