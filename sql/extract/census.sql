-- How many jobs each organization has that the facts or the list of anomalies must know, and how many changed.
-- Takes: execmetrics.cursors and execmetrics.scope, as asked/swept.sql does.
-- Gives: one row per organization: organization_id, reported (jobs that are neither unfinished nor deleted),
--        changed (jobs written since the oldest horizon; 0 without one).
SELECT
    counted.organization_id,
    coalesce(
        sum(counted.jobs - counted.deleted)
        FILTER (WHERE (counted.status IN ('PENDING', 'RUNNING', 'CANCELLED')) IS NOT TRUE),
        0
    )::bigint AS reported,
    sum(counted.changed)::bigint AS changed
FROM (
    -- By what the rows hold, because a status turned into text for each of them takes twice as long.
    SELECT
        j.organization_id,
        j.status::text AS status,
        count(*) AS jobs,
        count(j.deleted_at) AS deleted,
        count(*) FILTER (
            WHERE age(j.xmin) <= (
                SELECT max(age((known.horizon & 4294967295)::text::xid))
                FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
            )
        ) AS changed
    FROM orchestration.jobs AS j
    WHERE
        (SELECT current_setting('execmetrics.scope') = 'all')
        OR j.organization_id IN (
            SELECT listed.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS listed (organization_id uuid)
        )
    GROUP BY j.organization_id, j.status
) AS counted
GROUP BY counted.organization_id
