-- The rows that every statement about one tenant's jobs begins with.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.jobs.
SELECT *
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)
