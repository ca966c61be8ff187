-- How many lines are in no partition of a month.
-- Takes: nothing.
-- Gives: one row: lines bigint.
SELECT count(*) AS lines FROM orchestration.execution_logs_default
