-- Forget from which facts the step metrics of these organizations are: the table has lost that version.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.step_completeness
-- A table that never was, so that everything is read and published anew.
SET facts_table_id = gen_random_uuid()
WHERE organization_id = any(%(organization_ids)s::uuid[])
RETURNING organization_id
