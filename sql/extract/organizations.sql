-- Every organization of the source, deleted ones included.
-- Takes: nothing.
-- Gives: one row per organization: id, name, time_zone, deleted_at (an infinite one as the epoch).
SELECT
    id,
    name::text AS name,
    time_zone::text AS time_zone,
    CASE WHEN isfinite(deleted_at) THEN deleted_at WHEN deleted_at IS NOT NULL THEN 'epoch' END AS deleted_at
FROM orchestration.organizations
