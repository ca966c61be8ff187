-- Remove outcomes of runs that ended before a moment, except the newest of the jobs and the steps of each
-- organization with metrics.
-- Takes: before timestamptz.
-- Gives: one row per outcome removed.
DELETE FROM analytics.refresh_outcomes AS old
WHERE
    old.finished_at < %(before)s
    AND (
        EXISTS (
            SELECT
            FROM analytics.refresh_outcomes AS newer
            WHERE
                newer.organization_id = old.organization_id AND newer.subject = old.subject
                AND newer.finished_at > old.finished_at
        )
        -- One that was never published and is tried no more is gone from the source.
        OR NOT EXISTS (
            SELECT FROM analytics.completeness AS known WHERE known.organization_id = old.organization_id
        )
    )
