-- Which organizations are complete no further than so long ago.
-- Takes: lag interval.
-- Gives: organization_id, complete_through timestamptz, furthest behind first.
SELECT completeness.organization_id, completeness.complete_through
FROM analytics.completeness
WHERE completeness.complete_through < now() - %(lag)s::interval
ORDER BY completeness.complete_through, completeness.organization_id
