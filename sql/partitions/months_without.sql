-- The months of lines for which there is no partition.
-- Takes: nothing.
-- Gives: one row per month in UTC: year, number.
SELECT DISTINCT
    extract(YEAR FROM timestamp AT TIME ZONE 'UTC')::integer AS year,
    extract(MONTH FROM timestamp AT TIME ZONE 'UTC')::integer AS number
FROM orchestration.execution_logs_default
ORDER BY 1, 2
