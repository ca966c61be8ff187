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
