-- The archive that a month has already, if lines of it came after it was dropped.
-- Takes: month_start timestamptz.
-- Gives: one row or none: month_start, month_end, archive_reference, archived_rows.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows
FROM orchestration.execution_log_months
WHERE month_start = %(month_start)s AND archive_reference IS NOT NULL
