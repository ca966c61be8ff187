-- The end of steps.sql that asks for every line of some organizations' UTC days.
-- Takes: execmetrics.organization_ids uuid[] and, pairwise, execmetrics.days date[].
-- Gives: a line l that its organization wrote on such a day.
WHERE
    -- From the first day to the last, so that partitions are left out.
    l.timestamp >= (
        SELECT min(asked.day)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    AND l.timestamp < (
        SELECT (max(asked.day) + 1)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    -- IS TRUE keeps it a look into a hash table, as in asked/created_on.sql.
    AND (
        (l.organization_id, (l.timestamp AT TIME ZONE 'UTC')::date) IN (
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
