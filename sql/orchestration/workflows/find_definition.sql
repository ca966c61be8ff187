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
