-- A new screenshot of a tenant's job.
-- Takes: organization_id, screenshot_id, job_id uuid, step_name text (may be NULL), screenshot_type, image_reference text,
--        image_size_bytes bigint, image_sha256 text, captured_at timestamptz.
-- Gives: one row: the columns of a screenshot, or none when there is no such job.
INSERT INTO orchestration.execution_screenshots (
    id, organization_id, job_id, step_name, screenshot_type, image_reference, image_size_bytes, image_sha256, captured_at
)
SELECT
    %(screenshot_id)s,
    organization_id,
    id,
    %(step_name)s,
    %(screenshot_type)s,
    %(image_reference)s,
    %(image_size_bytes)s,
    %(image_sha256)s,
    %(captured_at)s
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING
    id,
    job_id,
    step_name,
    screenshot_type,
    image_reference,
    image_size_bytes,
    image_sha256,
    captured_at,
    created_at,
    deleted_at
