-- The lines that every statement about one job's log begins with; those of a deleted job are not there.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since timestamptz (inclusive), until timestamptz
--        (exclusive).
-- Gives: the columns of orchestration.execution_logs.
SELECT *
FROM orchestration.execution_logs
WHERE
    organization_id = %(organization_id)s
    AND job_id = %(job_id)s
    AND timestamp >= %(since)s
    AND timestamp < %(until)s
    AND EXISTS (
        SELECT FROM orchestration.jobs
        WHERE
            id = %(job_id)s
            AND organization_id = %(organization_id)s
            AND (deleted_at IS NULL OR %(include_deleted)s)
    )
