-- Which organizations failed when they were last tried, by whichever run.
-- Takes: nothing.
-- Gives: organization_id, error_class.
SELECT organization_id, error_class
FROM (
    SELECT DISTINCT ON (organization_id) organization_id, error_class
    FROM analytics.refresh_outcomes
    ORDER BY organization_id, finished_at DESC
) AS newest
WHERE error_class IS NOT NULL
ORDER BY organization_id
