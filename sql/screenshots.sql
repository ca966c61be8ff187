-- Screenshots of the jobs of one tenant.

-- name: create
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

-- name: delete
-- Soft-delete one screenshot of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), screenshot_id uuid.
-- Gives: one row, id, or none when there is no such screenshot.
UPDATE orchestration.execution_screenshots
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS screenshots WHERE id = %(screenshot_id)s)
RETURNING id

-- name: find_by_job
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

-- name: find_by_organization
-- A tenant's screenshots, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, after_captured_at timestamptz and after_id uuid (the place of
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
    (
        %(after_captured_at)s::timestamptz IS NULL
        OR (captured_at, id) < (%(after_captured_at)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY captured_at DESC, id DESC
LIMIT %(rows)s

-- name: visible
-- The rows that every statement about one tenant's screenshots begins with; those of a deleted job are deleted as well.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.execution_screenshots.
SELECT screenshots.*
FROM orchestration.execution_screenshots AS screenshots
WHERE
    screenshots.organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR screenshots.deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = screenshots.job_id)
    )
