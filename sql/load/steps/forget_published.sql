-- Have the step metrics of organizations published anew as a whole: nobody knows which version they show.
-- Takes: organization_ids uuid[]; forgotten bigint, in place of a version.
-- Gives: one row per organization.
UPDATE analytics.step_completeness
SET published_version = %(forgotten)s
WHERE organization_id = any(%(organization_ids)s::uuid[])
RETURNING organization_id
