-- Soft-delete the payers and rules of one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, job_id, or none when it has none.
UPDATE orchestration.execution_rag_rules
SET deleted_at = now(), updated_at = now()
WHERE job_id IN (SELECT job_id FROM ({visible}) AS rag_rules WHERE job_id = %(job_id)s)
RETURNING job_id
