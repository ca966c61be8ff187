-- Workflows of one tenant.

-- name: create
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

-- name: create_definition
-- What one workflow of a tenant does from now on, in place of what it did.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid, definition text (JSON), or
--        definition_reference text, definition_size_bytes bigint and definition_sha256 text; the others NULL.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET
    definition = %(definition)s::jsonb,
    definition_reference = %(definition_reference)s,
    definition_size_bytes = %(definition_size_bytes)s,
    definition_sha256 = %(definition_sha256)s,
    updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS workflows WHERE id = %(workflow_id)s)
RETURNING id

-- name: delete
-- Soft-delete one workflow of a tenant; its jobs stay.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS workflows WHERE id = %(workflow_id)s)
RETURNING id

-- name: find_by_id
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

-- name: find_definition
-- What one workflow of a tenant does, or where that is.
-- Takes: organization_id uuid, include_deleted boolean, workflow_id uuid.
-- Gives: one row or none: id, definition jsonb, definition_reference text, definition_size_bytes bigint,
--        definition_sha256 text; all but id may be NULL.
SELECT
    id,
    definition,
    definition_reference,
    definition_size_bytes,
    definition_sha256
FROM ({visible}) AS workflows
WHERE id = %(workflow_id)s

-- name: visible
-- The rows that every statement about one tenant's workflows begins with.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.workflows.
SELECT *
FROM orchestration.workflows
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)
