-- The screenshots of one job of a tenant, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, after_captured_at timestamptz and after_id uuid (the place of
--        the last row that was taken, NULL for none), rows bigint (how many at most).
-- Gives: a row for each: id, job_id, step_name (may be NULL), screenshot_type, image_reference, image_size_bytes,
--        image_sha256, captured_at, created_at, deleted_at (may be NULL).
SELECT
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
FROM ({visible}) AS screenshots
WHERE
    job_id = %(job_id)s AND (
        %(after_captured_at)s::timestamptz IS NULL
        OR (captured_at, id) < (%(after_captured_at)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY captured_at DESC, id DESC
LIMIT %(rows)s
