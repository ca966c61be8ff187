-- Which workflows changed since their organization's cursor, so that dashboards can name them.
-- Takes: execmetrics.cursors and execmetrics.scope, as jobs.sql does.
-- Gives: one row per workflow: id, organization_id, name, deleted_at (an infinite one as the epoch).
WITH cursors AS MATERIALIZED (
    SELECT
        c.organization_id,
        age((c.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS c (organization_id uuid, horizon bigint)
)
SELECT
    n.id,
    n.organization_id,
    n.name::text AS name,
    CASE WHEN isfinite(n.deleted_at) THEN n.deleted_at WHEN n.deleted_at IS NOT NULL THEN 'epoch' END AS deleted_at
FROM orchestration.workflows AS n
LEFT JOIN cursors ON cursors.organization_id = n.organization_id
WHERE
    (current_setting('execmetrics.scope') = 'all' OR cursors.organization_id IS NOT NULL)
    AND (cursors.oldest IS NULL OR age(n.xmin) <= cursors.oldest)
