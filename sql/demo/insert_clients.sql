-- Write the month's clients into the source.
-- Takes: since timestamptz. Gives: how many it wrote.
INSERT INTO orchestration.clients (id, organization_id, name, created_at, updated_at)
SELECT id, organization_id, name, %(since)s::timestamptz, %(since)s::timestamptz
FROM month_clients
ORDER BY organization_id, id
