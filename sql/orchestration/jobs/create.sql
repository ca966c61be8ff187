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
