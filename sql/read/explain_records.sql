-- From when on it is on record how cells changed.
-- Takes: nothing.
-- Gives: one row: first_published_at (when the first cell was published; NULL for never) and removed_before
--        (older restatements were removed; NULL for none).
SELECT
    (SELECT min(first_used_at) FROM analytics.metric_definitions) AS first_published_at,
    (SELECT removed_before FROM analytics.retention WHERE period = 'restatements') AS removed_before
