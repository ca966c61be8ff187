-- Bring the jobs of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows; the organizations, workflows and clients are there already.
-- Gives: the number of rows written.
INSERT INTO orchestration.jobs AS j (
    id, organization_id, workflow_id, client_id, initiator_type, status,
    created_at, started_at, completed_at, updated_at, deleted_at
)
SELECT
    id, organization_id, workflow_id, client_id, initiator_type, status::orchestration.job_status,
    created_at, started_at, completed_at, now(), deleted_at
FROM trace_rows
WHERE table_name = 'jobs'
ON CONFLICT (id) DO UPDATE SET
    organization_id = excluded.organization_id,
    workflow_id = excluded.workflow_id,
    client_id = excluded.client_id,
    initiator_type = excluded.initiator_type,
    status = excluded.status,
    created_at = excluded.created_at,
    started_at = excluded.started_at,
    completed_at = excluded.completed_at,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE
    (
        j.organization_id, j.workflow_id, j.client_id, j.initiator_type, j.status,
        j.created_at, j.started_at, j.completed_at, j.deleted_at
    )
    IS DISTINCT FROM (
        excluded.organization_id, excluded.workflow_id, excluded.client_id, excluded.initiator_type, excluded.status,
        excluded.created_at, excluded.started_at, excluded.completed_at, excluded.deleted_at
    )
