-- Every archive of lines, locked so that nobody else replaces one meanwhile.
-- Takes: nothing; an archive holds the lines of every organization.
-- Gives: one row per month: month_start, month_end, archive_reference, archived_rows.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows
FROM orchestration.execution_log_months
WHERE dropped_at IS NOT NULL AND archive_reference IS NOT NULL
ORDER BY month_start
FOR UPDATE
