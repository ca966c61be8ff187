-- Whose steps are behind: nobody as long as no steps were ever published.
-- Takes: lag interval.
-- Gives: one row per organization: organization_id, extracted_at (NULL for never).
SELECT
    p.organization_id,
    s.extracted_at
FROM analytics.completeness AS p
LEFT JOIN analytics.step_completeness AS s USING (organization_id)
WHERE
    EXISTS (SELECT FROM analytics.step_completeness)
    AND (s.extracted_at IS NULL OR s.extracted_at < now() - %(lag)s::interval)
ORDER BY p.organization_id
