-- A new workflow of a tenant, without a definition.
-- Takes: organization_id, workflow_id uuid, name text.
-- Gives: one row: id, name, created_at, updated_at, deleted_at (NULL).
INSERT INTO orchestration.workflows (id, organization_id, name)
VALUES (%(workflow_id)s, %(organization_id)s, %(name)s)
RETURNING
    id,
    name,
    created_at,
    updated_at,
    deleted_at
