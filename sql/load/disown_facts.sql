-- Forget which facts the cells of these organizations show: the table has lost that version.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.published_facts
-- A table that never was, so that whatever is read next is taken whole.
SET facts_table_id = gen_random_uuid()
WHERE organization_id = any(%(organization_ids)s::uuid[])
