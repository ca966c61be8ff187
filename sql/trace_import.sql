-- Traces on their way into the source.

-- name: clients
-- Bring the clients of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows.
-- Gives: the number of rows written.
INSERT INTO orchestration.clients AS c (id, organization_id, name, created_at, updated_at, deleted_at)
SELECT id, organization_id, name, now(), now(), deleted_at
FROM trace_rows
WHERE table_name = 'clients'
ON CONFLICT (id) DO UPDATE SET
    organization_id = excluded.organization_id,
    name = excluded.name,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE
    (c.organization_id, c.name, c.deleted_at)
    IS DISTINCT FROM (excluded.organization_id, excluded.name, excluded.deleted_at)

-- name: execution_logs
-- Bring the log lines of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_log_rows; the jobs, whose organizations they have, are there already.
-- Gives: the number of rows written.
INSERT INTO orchestration.execution_logs AS l (
    id, organization_id, job_id, sequence, level, timestamp, step_name, duration_ms
)
SELECT
    -- Derived, so that the same line of another import is the same row.
    md5(t.job_id || ' ' || t.sequence)::uuid,
    j.organization_id,
    t.job_id,
    t.sequence,
    t.level::orchestration.log_level,
    t.timestamp,
    t.step_name,
    t.duration_ms
FROM trace_log_rows AS t
JOIN orchestration.jobs AS j ON j.id = t.job_id
ON CONFLICT (id, timestamp) DO UPDATE SET
    organization_id = excluded.organization_id,
    level = excluded.level,
    step_name = excluded.step_name,
    duration_ms = excluded.duration_ms
WHERE
    (l.organization_id, l.level, l.step_name, l.duration_ms)
    IS DISTINCT FROM (excluded.organization_id, excluded.level, excluded.step_name, excluded.duration_ms)

-- name: jobs
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

-- name: log_rows
-- The log lines of a trace.
-- Takes: lines in the text format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY trace_log_rows (job_id, sequence, level, timestamp, step_name, duration_ms) FROM STDIN

-- name: log_staging
-- A place for the log lines of a trace before they meet the source's own, gone when the transaction ends.
-- Takes: nothing.
-- Gives: nothing that is read.
CREATE TEMPORARY TABLE trace_log_rows (
    job_id uuid NOT NULL,
    sequence integer NOT NULL,
    level text NOT NULL,
    timestamp timestamptz NOT NULL,
    step_name text,
    duration_ms double precision
) ON COMMIT DROP

-- name: moved_logs
-- Delete the lines that a trace has at another time now: a line's time is a part of its key.
-- Takes: trace_log_rows.
-- Gives: nothing that is read.
DELETE FROM orchestration.execution_logs AS l
USING trace_log_rows AS t
WHERE
    l.job_id = t.job_id
    AND l.id = md5(t.job_id || ' ' || t.sequence)::uuid
    AND l.timestamp <> t.timestamp

-- name: organizations
-- Bring the organizations of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows.
-- Gives: the number of rows written.
INSERT INTO orchestration.organizations AS o (id, name, time_zone, created_at, updated_at, deleted_at)
SELECT id, name, coalesce(time_zone, 'UTC'), now(), now(), deleted_at
FROM trace_rows
WHERE table_name = 'organizations'
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    time_zone = excluded.time_zone,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE (o.name, o.time_zone, o.deleted_at) IS DISTINCT FROM (excluded.name, excluded.time_zone, excluded.deleted_at)

-- name: rows
-- The rows of all files of a trace.
-- Takes: lines in the text format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY trace_rows (
    table_name,
    id,
    organization_id,
    workflow_id,
    client_id,
    name,
    time_zone,
    initiator_type,
    status,
    created_at,
    started_at,
    completed_at,
    deleted_at
) FROM STDIN

-- name: staging
-- A place for the rows of a trace before they meet the source's own, gone when the transaction ends.
-- Takes: nothing.
-- Gives: nothing that is read.
CREATE TEMPORARY TABLE trace_rows (
    table_name text NOT NULL,
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    workflow_id uuid,
    client_id uuid,
    name text,
    time_zone text,
    initiator_type text,
    status text,
    created_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    deleted_at timestamptz
) ON COMMIT DROP

-- name: workflows
-- Bring the workflows of a trace into the source; rows that are the same already are left alone.
-- Takes: trace_rows.
-- Gives: the number of rows written.
INSERT INTO orchestration.workflows AS w (id, organization_id, name, created_at, updated_at, deleted_at)
SELECT id, organization_id, name, now(), now(), deleted_at
FROM trace_rows
WHERE table_name = 'workflows'
ON CONFLICT (id) DO UPDATE SET
    organization_id = excluded.organization_id,
    name = excluded.name,
    updated_at = excluded.updated_at,
    deleted_at = excluded.deleted_at
WHERE
    (w.organization_id, w.name, w.deleted_at)
    IS DISTINCT FROM (excluded.organization_id, excluded.name, excluded.deleted_at)
