-- Which organizations failed in the run that ended last.
-- Takes: nothing.
-- Gives: organization_id, error_class.
SELECT organization_id, error_class
FROM analytics.refresh_outcomes
WHERE
    error_class IS NOT NULL
    AND run_id = (SELECT run_id FROM analytics.refresh_outcomes ORDER BY finished_at DESC LIMIT 1)
ORDER BY organization_id
