-- One cell and its history.

-- name: records
-- From when on it is on record how the cells of an organization changed.
-- Takes: organization_id uuid, subject text; the place {table} of the subject.
-- Gives: one row: first_published_at (the earliest sign that it was published; NULL for none) and removed_before
--        (older restatements were removed; NULL for none).
SELECT
    least(
        (
            SELECT min(computed_at) FROM {table}
            WHERE organization_id = %(organization_id)s
        ),
        (
            SELECT min(coalesce(old_computed_at, restated_at)) FROM analytics.restatements
            WHERE organization_id = %(organization_id)s AND subject = %(subject)s
        )
    ) AS first_published_at,
    (SELECT removed_before FROM analytics.retention WHERE period = 'restatements') AS removed_before

-- name: restatements
-- How one cell changed after its period was over, wherever its bucket begins.
-- Takes: subject text, organization_id uuid, period text, starts timestamptz[] (where it may begin), cell jsonb (its
--        dimensions).
-- Gives: one row per restatement, the oldest first: period_start, restated_at, run_id, reason, old_computed_at
--        (since when the figures before stood; may be NULL), old and new (the figures before and after).
SELECT period_start, restated_at, run_id, reason, old_computed_at, old, new
FROM analytics.restatements
WHERE
    subject = %(subject)s AND organization_id = %(organization_id)s AND period = %(period)s
    AND period_start = any(%(starts)s::timestamptz[]) AND cell = %(cell)s::jsonb
ORDER BY restated_at, run_id
