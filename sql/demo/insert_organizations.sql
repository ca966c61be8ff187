-- Write the month's organizations into the source, unless they are there.
-- Takes: since timestamptz. Gives: how many it wrote.
INSERT INTO orchestration.organizations (id, name, time_zone, created_at, updated_at)
SELECT id, name, time_zone, %(since)s::timestamptz, %(since)s::timestamptz
FROM month_organizations
ORDER BY id
ON CONFLICT (id) DO NOTHING
