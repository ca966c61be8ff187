-- From when on it is on record how the cells of an organization changed.
-- Takes: organization_id uuid.
-- Gives: one row: first_published_at (the earliest sign that it was published; NULL for none) and removed_before
--        (older restatements were removed; NULL for none).
SELECT
    least(
        (
            SELECT min(computed_at) FROM analytics.aggregate_metrics
            WHERE organization_id = %(organization_id)s
        ),
        (
            SELECT min(coalesce(old_computed_at, restated_at)) FROM analytics.restatements
            WHERE organization_id = %(organization_id)s
        )
    ) AS first_published_at,
    (SELECT removed_before FROM analytics.retention WHERE period = 'restatements') AS removed_before
