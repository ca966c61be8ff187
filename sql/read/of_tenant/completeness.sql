-- How complete one tenant's metrics are.
-- Takes: organization_id uuid.
-- Gives: one row, or none when nothing was published: complete_through, extracted_at, published_at, published_version,
--        verified_at (may be NULL), time_zone.
SELECT complete_through, extracted_at, published_at, published_version, verified_at, time_zone
FROM analytics.completeness
WHERE organization_id = %(organization_id)s
