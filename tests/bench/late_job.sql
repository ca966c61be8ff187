-- Write a job that ended long ago, a copy of another one.
-- Takes: organization_id uuid, completed_before timestamptz.
-- Gives: one row.
INSERT INTO orchestration.jobs (
    id, organization_id, workflow_id, client_id, initiator_type, status, created_at, started_at, completed_at
)
SELECT gen_random_uuid(), organization_id, workflow_id, client_id, initiator_type, status, created_at, started_at, completed_at
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND completed_at < %(completed_before)s AND status = 'COMPLETED'
ORDER BY completed_at DESC
LIMIT 1
