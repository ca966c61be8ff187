-- Record how far the cells of these organizations are of a definition.
-- Takes: organization_ids uuid[], definition_version integer, rebuilt_before timestamptz (NULL when all are).
-- Gives: one row per organization.
UPDATE analytics.completeness
SET
    definition_version = CASE
        WHEN %(rebuilt_before)s::timestamptz IS NULL THEN %(definition_version)s ELSE definition_version
    END,
    rebuilding_version = CASE WHEN %(rebuilt_before)s::timestamptz IS NOT NULL THEN %(definition_version)s END,
    rebuilt_before = %(rebuilt_before)s
WHERE organization_id = any(%(organization_ids)s::uuid[])
