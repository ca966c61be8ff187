-- Soft-delete one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, id, or none when there is no such job.
UPDATE orchestration.jobs
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS jobs WHERE id = %(job_id)s)
RETURNING id
