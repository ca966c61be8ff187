-- In which archives lines of one job may be, for a job that may be seen.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since timestamptz (inclusive), until timestamptz
--        (exclusive).
-- Gives: one row per month, the newest first: month_start, month_end, archive_reference, archived_rows.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows
FROM orchestration.execution_log_months
WHERE
    dropped_at IS NOT NULL
    AND archive_reference IS NOT NULL
    AND month_start < %(until)s
    AND month_end > %(since)s
    AND EXISTS (
        SELECT FROM orchestration.jobs
        WHERE
            id = %(job_id)s
            AND organization_id = %(organization_id)s
            AND (deleted_at IS NULL OR %(include_deleted)s)
    )
ORDER BY month_start DESC
