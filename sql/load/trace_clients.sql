-- Bring the clients of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows.
-- Gives: the number of rows written.
INSERT INTO orchestration.clients AS c (id, organization_id, name, created_at, updated_at, deleted_at)
SELECT id, organization_id, name, now(), now(), deleted_at
FROM trace_rows
WHERE table_name = 'clients'
ON CONFLICT (id) DO UPDATE SET
    organization_id = excluded.organization_id,
    name = excluded.name,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE
    (c.organization_id, c.name, c.deleted_at)
    IS DISTINCT FROM (excluded.organization_id, excluded.name, excluded.deleted_at)
