-- How complete one tenant's metrics are, and what it is called.
-- Takes: organization_id uuid.
-- Gives: one row, or none when nothing was published: organization_name (may be NULL), complete_through, extracted_at,
--        published_at, published_version, verified_at (may be NULL), edition, time_zone.
SELECT
    organizations.name AS organization_name,
    published.complete_through,
    published.extracted_at,
    published.published_at,
    published.published_version,
    published.verified_at,
    published.edition,
    published.time_zone
FROM analytics.completeness AS published
LEFT JOIN analytics.organizations ON organizations.id = published.organization_id
WHERE published.organization_id = %(organization_id)s
