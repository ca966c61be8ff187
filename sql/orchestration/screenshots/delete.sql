-- Soft-delete one screenshot of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), screenshot_id uuid.
-- Gives: one row, id, or none when there is no such screenshot.
UPDATE orchestration.execution_screenshots
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS screenshots WHERE id = %(screenshot_id)s)
RETURNING id
