-- Keep others from publishing these organizations until the transaction ends; waits for whoever is about to.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization that was ever published: organization_id, facts_table_id,
--        published_version, run_id (NULL if unknown), as they are then.
SELECT organization_id, facts_table_id, published_version, run_id
FROM analytics.completeness
WHERE organization_id = any(%(organization_ids)s::uuid[])
ORDER BY organization_id
FOR UPDATE
