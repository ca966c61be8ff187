-- Bring the organizations of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows.
-- Gives: the number of rows written.
INSERT INTO orchestration.organizations AS o (id, name, time_zone, created_at, updated_at, deleted_at)
SELECT id, name, coalesce(time_zone, 'UTC'), now(), now(), deleted_at
FROM trace_rows
WHERE table_name = 'organizations'
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    time_zone = excluded.time_zone,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE (o.name, o.time_zone, o.deleted_at) IS DISTINCT FROM (excluded.name, excluded.time_zone, excluded.deleted_at)
