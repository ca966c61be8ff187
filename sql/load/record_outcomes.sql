-- Record what became of these organizations in a run.
-- Takes: run_id uuid, organization_ids uuid[], subject text, outcome text, error_class text (NULL when published),
--        milliseconds bigint.
-- Gives: one row per organization.
INSERT INTO analytics.refresh_outcomes (
    run_id, organization_id, subject, outcome, error_class, finished_at, milliseconds
)
SELECT %(run_id)s, organization_id, %(subject)s, %(outcome)s, %(error_class)s, now(), %(milliseconds)s
FROM unnest(%(organization_ids)s::uuid[]) AS settled (organization_id)
ORDER BY organization_id
ON CONFLICT (run_id, organization_id) DO UPDATE
SET
    outcome = excluded.outcome,
    error_class = excluded.error_class,
    finished_at = excluded.finished_at,
    milliseconds = excluded.milliseconds
