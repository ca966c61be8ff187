-- The clients of one tenant that are in use.
-- Takes: organization_id uuid.
-- Gives: id, name (may be NULL), by name.
SELECT id, name
FROM analytics.clients
WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
ORDER BY name, id
