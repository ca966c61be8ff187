-- Until when months of logs were dropped, so that their steps are gone from the source for good.
-- Takes: nothing; the source has the table.
-- Gives: one row: sealed_before timestamptz, NULL when none was dropped.
SELECT max(month_end) AS sealed_before
FROM orchestration.execution_log_months
WHERE dropped_at IS NOT NULL
