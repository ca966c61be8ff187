-- Whose metadata can be synced.
-- Takes: nothing.
-- Gives: the id of each organization, in order.
SELECT id
FROM orchestration.organizations
ORDER BY id
