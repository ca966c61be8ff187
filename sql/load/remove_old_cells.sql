-- Remove cells of one period that begin before a moment.
-- Takes: period text, before timestamptz.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_metrics
WHERE period = %(period)s AND period_start < %(before)s
