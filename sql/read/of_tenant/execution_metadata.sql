-- One tenant's executions with the names of their workflows and clients, the newest first.
-- Takes: organization_id uuid; job_id uuid, workflow_id uuid, client_id uuid and status text: one, or NULL for any;
--        no_client uuid (the client_id of those without one); include_deleted boolean; after_created_at text and
--        after_job uuid (the place of the last row that was taken, NULL for none); rows bigint (how many at most).
-- Gives: organization_id, job_id, workflow_id, workflow_name, client_id, client_name, initiator_type, status,
--        created_at, started_at, completed_at and deleted_at (NULL where other programs cannot hold the time),
--        is_deleted, last_synced_at, synced_at (through when the tenant's changes are copied, NULL before the first
--        sync) and place (created_at as text).
SELECT
    m.organization_id,
    m.job_id,
    m.workflow_id,
    m.workflow_name,
    m.client_id,
    m.client_name,
    m.initiator_type,
    m.status::text AS status,
    CASE WHEN m.created_at >= '0001-01-01Z' AND m.created_at < '10000-01-01Z' THEN m.created_at END AS created_at,
    CASE WHEN m.started_at >= '0001-01-01Z' AND m.started_at < '10000-01-01Z' THEN m.started_at END AS started_at,
    CASE WHEN m.completed_at >= '0001-01-01Z' AND m.completed_at < '10000-01-01Z' THEN m.completed_at END AS completed_at,
    CASE WHEN m.deleted_at >= '0001-01-01Z' AND m.deleted_at < '10000-01-01Z' THEN m.deleted_at END AS deleted_at,
    m.deleted_at IS NOT NULL AS is_deleted,
    m.last_synced_at,
    (
        SELECT s.synced_at
        FROM orchestration.execution_metadata_syncs AS s
        WHERE s.organization_id = %(organization_id)s
    ) AS synced_at,
    m.created_at::text AS place
FROM orchestration.execution_metadata AS m
WHERE
    m.organization_id = %(organization_id)s
    AND (%(job_id)s::uuid IS NULL OR m.job_id = %(job_id)s)
    AND (%(workflow_id)s::uuid IS NULL OR m.workflow_id = %(workflow_id)s)
    AND CASE
        WHEN %(client_id)s::uuid IS NULL THEN true
        WHEN %(client_id)s = %(no_client)s THEN m.client_id IS NULL
        ELSE m.client_id = %(client_id)s
    END
    AND (%(status)s::text IS NULL OR m.status = %(status)s::orchestration.job_status)
    AND (%(include_deleted)s OR m.deleted_at IS NULL)
    AND (
        %(after_created_at)s::text IS NULL
        OR (m.created_at, m.job_id) < (%(after_created_at)s::timestamptz, %(after_job)s::uuid)
    )
ORDER BY m.created_at DESC, m.job_id DESC
LIMIT %(rows)s
