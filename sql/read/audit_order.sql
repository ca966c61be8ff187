-- Whose metrics were compared with the source longest ago, whatever came out, and how many they are.
-- Takes: nothing.
-- Gives: organization_id, cells bigint; those never compared first.
SELECT completeness.organization_id, coalesce(stored.cells, 0) AS cells
FROM analytics.completeness
LEFT JOIN (
    SELECT organization_id, count(*) AS cells FROM analytics.aggregate_metrics GROUP BY organization_id
) AS stored USING (organization_id)
ORDER BY completeness.audited_at NULLS FIRST, completeness.organization_id
