-- Remove the cells of steps that retention keeps no more.
-- Takes: period text, before timestamptz: cells of the period that begin before it go.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_step_metrics
WHERE period = %(period)s AND period_start < %(before)s
