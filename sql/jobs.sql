-- Jobs of one tenant.

-- name: create
-- A new job of a tenant.
-- Takes: organization_id, job_id, workflow_id uuid, client_id uuid (may be NULL), initiator_type text (may be NULL), status
--        text, result text (JSON, may be NULL), started_at and completed_at timestamptz (may be NULL).
-- Gives: one row: the columns of orchestration.jobs but for organization_id and result.
INSERT INTO orchestration.jobs (
    id, organization_id, workflow_id, client_id, initiator_type, status, result, started_at, completed_at
)
VALUES (
    %(job_id)s,
    %(organization_id)s,
    %(workflow_id)s,
    %(client_id)s,
    %(initiator_type)s,
    %(status)s::orchestration.job_status,
    %(result)s::jsonb,
    %(started_at)s,
    %(completed_at)s
)
RETURNING
    id,
    workflow_id,
    client_id,
    initiator_type,
    status::text AS status,
    created_at,
    started_at,
    completed_at,
    updated_at,
    deleted_at

-- name: delete
-- Soft-delete one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, id, or none when there is no such job.
UPDATE orchestration.jobs
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS jobs WHERE id = %(job_id)s)
RETURNING id

-- name: find_by_id
-- One job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: the columns of orchestration.jobs but for result.
SELECT
    id,
    workflow_id,
    client_id,
    initiator_type,
    status::text AS status,
    created_at,
    started_at,
    completed_at,
    updated_at,
    deleted_at
FROM ({visible}) AS jobs
WHERE id = %(job_id)s

-- name: find_result
-- What one job of a tenant returned.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: id, result jsonb (may be NULL).
SELECT id, result
FROM ({visible}) AS jobs
WHERE id = %(job_id)s

-- name: visible
-- The rows that every statement about one tenant's jobs begins with.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.jobs.
SELECT *
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)
