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
