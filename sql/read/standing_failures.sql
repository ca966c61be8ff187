-- Whose jobs or steps failed when they were last tried, or have deletes that are withheld since a digest.
-- Takes: withheld text: the class of the latter.
-- Gives: organization_id, subject (jobs or steps), error_class, failing_since timestamptz (the first failure after
--        the last success).
WITH failing AS (
    SELECT newest.organization_id, newest.subject, newest.error_class, streak.failing_since
    FROM (
        SELECT DISTINCT ON (organization_id, subject) organization_id, subject, error_class
        FROM analytics.refresh_outcomes
        ORDER BY organization_id, subject, finished_at DESC
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT min(finished_at) AS failing_since
        FROM analytics.refresh_outcomes AS failed
        WHERE
            failed.organization_id = newest.organization_id AND failed.subject = newest.subject
            AND failed.error_class IS NOT NULL
            AND failed.finished_at > coalesce(
                (
                    SELECT max(finished_at)
                    FROM analytics.refresh_outcomes AS published
                    WHERE
                        published.organization_id = newest.organization_id AND published.subject = newest.subject
                        AND published.error_class IS NULL
                ),
                '-infinity'
            )
    ) AS streak
    WHERE newest.error_class IS NOT NULL
),
withheld AS (
    SELECT organization_id, 'jobs' AS subject, withheld_at
    FROM analytics.completeness
    WHERE withheld_at IS NOT NULL
    UNION ALL
    SELECT organization_id, 'steps' AS subject, withheld_at
    FROM analytics.step_completeness
    WHERE withheld_at IS NOT NULL
)

SELECT
    organization_id,
    subject,
    coalesce(failing.error_class, %(withheld)s) AS error_class,
    -- A refresh between two digests forgives nothing.
    CASE
        WHEN coalesce(failing.error_class, %(withheld)s) = %(withheld)s
            THEN least(withheld.withheld_at, failing.failing_since)
        ELSE failing.failing_since
    END AS failing_since
FROM failing
FULL JOIN withheld USING (organization_id, subject)
ORDER BY failing_since, organization_id, subject
