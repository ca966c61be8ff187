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
