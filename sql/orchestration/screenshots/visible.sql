-- The rows that every statement about one tenant's screenshots begins with; those of a deleted job are deleted as well.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.execution_screenshots.
SELECT screenshots.*
FROM orchestration.execution_screenshots AS screenshots
WHERE
    screenshots.organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR screenshots.deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = screenshots.job_id)
    )
