-- Soft-delete one workflow of a tenant; its jobs stay.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS workflows WHERE id = %(workflow_id)s)
RETURNING id
