-- Names of organizations, workflows and clients, copied from the source.

-- name: changed_owners
-- Which of these workflows or clients belonged to another organization when their names were last copied.
-- Takes: kind text (`workflows` or `clients`), ids uuid[], organization_ids uuid[].
-- Gives: one row for each that changed hands: id, organization_id (the former owner).
SELECT copied.id, copied.organization_id
FROM unnest(%(ids)s::uuid[], %(organization_ids)s::uuid[]) AS source (id, organization_id)
INNER JOIN (
    SELECT id, organization_id FROM analytics.workflows WHERE %(kind)s = 'workflows'
    UNION ALL
    SELECT id, organization_id FROM analytics.clients WHERE %(kind)s = 'clients'
) AS copied USING (id)
WHERE copied.organization_id <> source.organization_id

-- name: organization_names
-- What the organizations are called that have metrics.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, name (NULL where the source does not say).
SELECT published.organization_id, names.name
FROM analytics.watermarks AS published
LEFT JOIN analytics.organizations AS names ON names.id = published.organization_id
WHERE published.subject = 'jobs'

-- name: upsert_names
-- Copy the names of workflows or of clients, as the source has them.
-- Takes: the table {names}; id uuid[], organization_id uuid[], name text[], deleted_at timestamptz[].
-- Gives: one row per client written; identical ones are left alone.
INSERT INTO {names} AS stored (id, organization_id, name, deleted_at)
SELECT id, organization_id, name, deleted_at
FROM unnest(%(id)s::uuid[], %(organization_id)s::uuid[], %(name)s::text[], %(deleted_at)s::timestamptz[])
    AS source (id, organization_id, name, deleted_at)
ORDER BY id
ON CONFLICT (id) DO UPDATE
SET organization_id = excluded.organization_id, name = excluded.name, deleted_at = excluded.deleted_at
WHERE (stored.organization_id, stored.name, stored.deleted_at)
IS DISTINCT FROM (excluded.organization_id, excluded.name, excluded.deleted_at)

-- name: upsert_organizations
-- Copy the names and time zones of organizations, as the source has them.
-- Takes: id uuid[], name text[], time_zone text[], deleted_at timestamptz[].
-- Gives: one row per organization written; identical ones are left alone.
INSERT INTO analytics.organizations AS stored (id, name, time_zone, deleted_at)
SELECT id, name, time_zone, deleted_at
FROM unnest(%(id)s::uuid[], %(name)s::text[], %(time_zone)s::text[], %(deleted_at)s::timestamptz[])
    AS source (id, name, time_zone, deleted_at)
ORDER BY id
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, time_zone = excluded.time_zone, deleted_at = excluded.deleted_at
WHERE (stored.name, stored.time_zone, stored.deleted_at)
IS DISTINCT FROM (excluded.name, excluded.time_zone, excluded.deleted_at)
