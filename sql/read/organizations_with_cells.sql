-- Which of these organizations have any cell.
-- Takes: organization_ids uuid[].
-- Gives: organization_id.
SELECT organization_id
FROM unnest(%(organization_ids)s::uuid[]) AS asked (organization_id)
WHERE EXISTS (
    SELECT FROM analytics.aggregate_metrics AS stored WHERE stored.organization_id = asked.organization_id
)
