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
