-- One workflow of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, workflow_id uuid.
-- Gives: one row or none: id, name, created_at, updated_at, deleted_at (may be NULL).
SELECT
    id,
    name,
    created_at,
    updated_at,
    deleted_at
FROM ({visible}) AS workflows
WHERE id = %(workflow_id)s
