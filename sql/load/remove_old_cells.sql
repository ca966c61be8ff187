-- Remove cells of one period that begin before a moment, and give the metrics that had some another edition.
-- Takes: period text, before timestamptz.
-- Gives: one row: how many cells were removed.
WITH removed AS (
    DELETE FROM analytics.aggregate_metrics
    WHERE period = %(period)s AND period_start < %(before)s
    RETURNING organization_id
),
renewed AS (
    UPDATE analytics.completeness
    SET edition = edition + 1
    WHERE organization_id IN (SELECT organization_id FROM removed)
)
SELECT count(*) FROM removed
