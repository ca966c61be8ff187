-- Every archive of a month of logs.
-- Takes: nothing.
-- Gives: one row per archive, the oldest month first: month_start, month_end, archive_reference, archived_rows,
--        archive_sha256.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows,
    archive_sha256
FROM orchestration.execution_log_months
WHERE archive_reference IS NOT NULL
ORDER BY month_start
