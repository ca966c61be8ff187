-- What the organizations are called that have metrics.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, name (NULL where the source does not say).
SELECT published.organization_id, names.name
FROM analytics.completeness AS published
LEFT JOIN analytics.organizations AS names ON names.id = published.organization_id
