-- Whose jobs, or steps, failed when they were last tried, by whichever run.
-- Takes: subject text: jobs or steps.
-- Gives: organization_id, error_class.
SELECT organization_id, error_class
FROM (
    SELECT DISTINCT ON (organization_id) organization_id, error_class
    FROM analytics.refresh_outcomes
    WHERE subject = %(subject)s
    ORDER BY organization_id, finished_at DESC
) AS newest
WHERE error_class IS NOT NULL
ORDER BY organization_id
