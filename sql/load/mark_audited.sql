-- Record that the metrics of these organizations were compared with plain SQL on the source.
-- Takes: organization_ids uuid[], verified uuid[] (those found equal), audited_at timestamptz.
-- Gives: one row per organization.
UPDATE analytics.completeness
SET
    audited_at = %(audited_at)s,
    verified_at = CASE WHEN organization_id = any(%(verified)s::uuid[]) THEN %(audited_at)s ELSE verified_at END
WHERE organization_id = any(%(organization_ids)s::uuid[])
