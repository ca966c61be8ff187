-- How many cells of steps are stored.
-- Takes: nothing.
-- Gives: one row: cells bigint.
SELECT count(*) AS cells FROM analytics.aggregate_step_metrics
