-- What retrieval found for the jobs of one tenant.

-- name: create
-- The payers and rules that were found for a tenant's job.
-- Takes: organization_id, job_id uuid, payers and rules text (JSON).
-- Gives: one row: job_id, or none when there is no such job.
INSERT INTO orchestration.execution_rag_rules (organization_id, job_id, payers, rules)
SELECT
    organization_id,
    id,
    %(payers)s::jsonb,
    %(rules)s::jsonb
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING job_id

-- name: delete
-- Soft-delete the payers and rules of one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, job_id, or none when it has none.
UPDATE orchestration.execution_rag_rules
SET deleted_at = now(), updated_at = now()
WHERE job_id IN (SELECT job_id FROM ({visible}) AS rag_rules WHERE job_id = %(job_id)s)
RETURNING job_id

-- name: find_by_job
-- Which payers and rules were found for one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: job_id, payers jsonb, rules jsonb, created_at, deleted_at (may be NULL).
SELECT
    job_id,
    payers,
    rules,
    created_at,
    deleted_at
FROM ({visible}) AS rag_rules
WHERE job_id = %(job_id)s

-- name: visible
-- The rows that every statement about one tenant's rules begins with; those of a deleted job are deleted as well.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.execution_rag_rules.
SELECT rag_rules.*
FROM orchestration.execution_rag_rules AS rag_rules
WHERE
    rag_rules.organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR rag_rules.deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = rag_rules.job_id)
    )
