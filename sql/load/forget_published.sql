-- Forget which version of the facts the cells of these organizations show.
-- Takes: organization_ids uuid[], forgotten bigint, which is no version.
-- Gives: one row per organization.
UPDATE analytics.completeness
SET published_version = %(forgotten)s
WHERE organization_id = any(%(organization_ids)s::uuid[])
