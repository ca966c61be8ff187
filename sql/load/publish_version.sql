-- Remember which version of the facts the cells of these organizations show, if nobody moved it meanwhile.
-- Takes: organization_ids uuid[], seen_table_ids uuid[] and seen_versions bigint[] (what the run found,
--        NULL for none), facts_table_id uuid, facts_version bigint.
-- Gives: one row per organization moved; fewer than asked for means that another run was faster.
INSERT INTO analytics.published_facts AS stored (organization_id, facts_table_id, facts_version, published_at)
SELECT seen.organization_id, %(facts_table_id)s, %(facts_version)s, now()
FROM unnest(%(organization_ids)s::uuid[], %(seen_table_ids)s::uuid[], %(seen_versions)s::bigint[])
    AS seen (organization_id, table_id, version)
LEFT JOIN analytics.published_facts AS found USING (organization_id)
WHERE (found.facts_table_id, found.facts_version) IS NOT DISTINCT FROM (seen.table_id, seen.version)
ORDER BY seen.organization_id
ON CONFLICT (organization_id) DO UPDATE
SET
    facts_table_id = excluded.facts_table_id,
    facts_version = excluded.facts_version,
    published_at = excluded.published_at
RETURNING organization_id
