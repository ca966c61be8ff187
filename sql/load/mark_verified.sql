-- Record that the metrics of these organizations were found equal to plain SQL on the source.
-- Takes: organization_ids uuid[], verified_at timestamptz.
-- Gives: one row per organization.
UPDATE analytics.completeness
SET verified_at = %(verified_at)s
WHERE organization_id = any(%(organization_ids)s::uuid[])
