-- Copy the names of workflows, as the source has them.
-- Takes: id uuid[], organization_id uuid[], name text[], deleted_at timestamptz[].
-- Gives: one row per workflow written; identical ones are left alone.
INSERT INTO analytics.workflows AS stored (id, organization_id, name, deleted_at)
SELECT id, organization_id, name, deleted_at
FROM unnest(%(id)s::uuid[], %(organization_id)s::uuid[], %(name)s::text[], %(deleted_at)s::timestamptz[])
    AS source (id, organization_id, name, deleted_at)
ORDER BY id
ON CONFLICT (id) DO UPDATE
SET organization_id = excluded.organization_id, name = excluded.name, deleted_at = excluded.deleted_at
WHERE (stored.organization_id, stored.name, stored.deleted_at)
IS DISTINCT FROM (excluded.organization_id, excluded.name, excluded.deleted_at)
