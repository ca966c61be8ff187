-- Which organizations failed when they were last tried.
-- Takes: nothing.
-- Gives: organization_id, error_class, failing_since timestamptz (the first failure after the last success).
SELECT newest.organization_id, newest.error_class, streak.failing_since
FROM (
    SELECT DISTINCT ON (organization_id) organization_id, outcome, error_class
    FROM analytics.refresh_outcomes
    ORDER BY organization_id, finished_at DESC
) AS newest
CROSS JOIN LATERAL (
    SELECT min(finished_at) AS failing_since
    FROM analytics.refresh_outcomes AS failed
    WHERE
        failed.organization_id = newest.organization_id AND failed.error_class IS NOT NULL
        AND failed.finished_at > coalesce(
            (
                SELECT max(finished_at)
                FROM analytics.refresh_outcomes AS published
                WHERE published.organization_id = newest.organization_id AND published.error_class IS NULL
            ),
            '-infinity'
        )
) AS streak
WHERE newest.error_class IS NOT NULL
ORDER BY streak.failing_since, newest.organization_id
