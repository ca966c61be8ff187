-- What one job of a tenant returned.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: id, result jsonb (may be NULL).
SELECT id, result
FROM ({visible}) AS jobs
WHERE id = %(job_id)s
