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
