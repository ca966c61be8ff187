-- Give the metrics of these organizations another edition, because cells were written without a publication.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.completeness
SET edition = edition + 1
WHERE organization_id = any(%(organization_ids)s::uuid[])
