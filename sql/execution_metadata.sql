-- Executions beside the names of their workflows and clients, kept in step.

-- name: delete_left_over
-- Delete the metadata of jobs that are gone: a foreign key does so by itself, unless it was switched off.
-- Takes: organization_ids uuid[].
-- Gives: nothing; the number of rows deleted is what counts.
DELETE FROM orchestration.execution_metadata AS m
WHERE
    m.organization_id = ANY(%(organization_ids)s)
    AND NOT EXISTS (SELECT FROM orchestration.jobs AS j WHERE j.id = m.job_id)

-- name: drift
-- How far execution_metadata is from its sources, at one moment and without a value of any row.
-- Takes: organization_ids uuid[]; farthest bigint (as sync does); examples bigint (how many jobs are named).
-- Gives: one row per organization: organization_id; rows_compared, rows_pending (written since the last sync, so no
--        drift), rows_missing, rows_left_over and rows_differing, bigint; columns jsonb (in how many
--        rows each differs, if in any); job_ids uuid[] (some of those that drifted).
WITH moment AS MATERIALIZED (
    SELECT
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
        (SELECT system_identifier FROM pg_control_system()) AS server
),
known AS MATERIALIZED (
    SELECT
        asked.organization_id,
        CASE
            WHEN s.server = moment.server AND moment.horizon - s.horizon BETWEEN 0 AND %(farthest)s THEN s.horizon
        END AS horizon
    FROM unnest(%(organization_ids)s::uuid[]) AS asked (organization_id)
    CROSS JOIN moment
    LEFT JOIN orchestration.execution_metadata_syncs AS s ON s.organization_id = asked.organization_id
),
compared AS (
    SELECT
        j.organization_id,
        j.id AS job_id,
        known.horizon IS NULL
        OR ((j.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
        OR ((w.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
        OR coalesce(((c.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648, false) AS is_pending,
        m.job_id IS NULL AS is_missing,
        m.organization_id <> j.organization_id AS organization_id_differs,
        m.workflow_id <> j.workflow_id AS workflow_id_differs,
        m.workflow_name <> w.name AS workflow_name_differs,
        m.client_id IS DISTINCT FROM j.client_id AS client_id_differs,
        m.client_name IS DISTINCT FROM c.name AS client_name_differs,
        m.initiator_type IS DISTINCT FROM j.initiator_type AS initiator_type_differs,
        m.status <> j.status AS status_differs,
        m.created_at <> j.created_at AS created_at_differs,
        m.started_at IS DISTINCT FROM j.started_at AS started_at_differs,
        m.completed_at IS DISTINCT FROM j.completed_at AS completed_at_differs,
        m.deleted_at IS DISTINCT FROM j.deleted_at AS deleted_at_differs
    FROM known
    INNER JOIN orchestration.jobs AS j ON j.organization_id = known.organization_id
    INNER JOIN orchestration.workflows AS w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
    LEFT JOIN orchestration.execution_metadata AS m ON m.job_id = j.id
    -- Kept apart: the planner would compare each column anew for every count.
    OFFSET 0
),
judged AS (
    SELECT
        *,
        NOT is_pending AND is_missing AS is_lost,
        NOT is_pending AND NOT is_missing AND (
            organization_id_differs OR workflow_id_differs OR workflow_name_differs OR client_id_differs
            OR client_name_differs OR initiator_type_differs OR status_differs OR created_at_differs
            OR started_at_differs OR completed_at_differs OR deleted_at_differs
        ) AS is_different
    FROM compared
    OFFSET 0
),
copied AS (
    SELECT
        organization_id,
        count(*) FILTER (WHERE NOT is_pending) AS rows_compared,
        count(*) FILTER (WHERE is_pending) AS rows_pending,
        count(*) FILTER (WHERE is_lost) AS rows_missing,
        count(*) FILTER (WHERE is_different) AS rows_differing,
        jsonb_strip_nulls(
            jsonb_build_object(
                'organization_id', nullif(count(*) FILTER (WHERE is_different AND organization_id_differs), 0),
                'workflow_id', nullif(count(*) FILTER (WHERE is_different AND workflow_id_differs), 0),
                'workflow_name', nullif(count(*) FILTER (WHERE is_different AND workflow_name_differs), 0),
                'client_id', nullif(count(*) FILTER (WHERE is_different AND client_id_differs), 0),
                'client_name', nullif(count(*) FILTER (WHERE is_different AND client_name_differs), 0),
                'initiator_type', nullif(count(*) FILTER (WHERE is_different AND initiator_type_differs), 0),
                'status', nullif(count(*) FILTER (WHERE is_different AND status_differs), 0),
                'created_at', nullif(count(*) FILTER (WHERE is_different AND created_at_differs), 0),
                'started_at', nullif(count(*) FILTER (WHERE is_different AND started_at_differs), 0),
                'completed_at', nullif(count(*) FILTER (WHERE is_different AND completed_at_differs), 0),
                'deleted_at', nullif(count(*) FILTER (WHERE is_different AND deleted_at_differs), 0)
            )
        ) AS columns,
        array_agg(job_id) FILTER (WHERE is_lost OR is_different) AS job_ids
    FROM judged
    GROUP BY organization_id
),
left_over AS (
    SELECT
        m.organization_id,
        count(*) AS rows_left_over,
        array_agg(m.job_id) AS job_ids
    FROM known
    INNER JOIN orchestration.execution_metadata AS m ON m.organization_id = known.organization_id
    WHERE NOT EXISTS (SELECT FROM orchestration.jobs AS j WHERE j.id = m.job_id)
    GROUP BY m.organization_id
)
SELECT
    known.organization_id,
    coalesce(copied.rows_compared, 0) + coalesce(left_over.rows_left_over, 0) AS rows_compared,
    coalesce(copied.rows_pending, 0) AS rows_pending,
    coalesce(copied.rows_missing, 0) AS rows_missing,
    coalesce(left_over.rows_left_over, 0) AS rows_left_over,
    coalesce(copied.rows_differing, 0) AS rows_differing,
    coalesce(copied.columns, '{}'::jsonb) AS columns,
    (coalesce(copied.job_ids, '{}'::uuid[]) || coalesce(left_over.job_ids, '{}'::uuid[]))[1:%(examples)s] AS job_ids
FROM known
LEFT JOIN copied ON copied.organization_id = known.organization_id
LEFT JOIN left_over ON left_over.organization_id = known.organization_id
ORDER BY known.organization_id

-- name: limits
-- Bound what the statements that follow in this transaction may take.
-- Takes: patience text (how long anybody is waited for), longest text (per statement).
-- Gives: one row, read for nothing.
SELECT
    set_config('lock_timeout', %(patience)s, true),
    set_config('statement_timeout', %(longest)s, true)

-- name: lock
-- Let one sync at a time write execution_metadata; the lock ends with the transaction.
-- Takes: nothing.
-- Gives: nothing that is read.
SELECT pg_advisory_xact_lock(hashtextextended('execution-metrics metadata', 0))

-- name: organizations
-- Whose metadata can be synced.
-- Takes: nothing.
-- Gives: the id of each organization, in order.
SELECT id
FROM orchestration.organizations
ORDER BY id

-- name: standing
-- Whether execution_metadata is there, and whether this role may do to it and to its sources what a sync does.
-- Takes: nothing.
-- Gives: one row: is_there, is_ours and is_read_only, boolean.
SELECT
    bool_and(t.oid IS NOT NULL) AS is_there,
    coalesce(
        bool_and(
            has_schema_privilege(n.oid, 'USAGE')
            AND CASE wanted.privilege
                WHEN 'DELETE' THEN has_table_privilege(t.oid, 'DELETE')
                ELSE has_any_column_privilege(t.oid, wanted.privilege)
            END
        ),
        false
    ) AS is_ours,
    pg_is_in_recovery() AS is_read_only
FROM (
    VALUES
    ('execution_metadata', 'SELECT'),
    ('execution_metadata', 'INSERT'),
    ('execution_metadata', 'UPDATE'),
    ('execution_metadata', 'DELETE'),
    ('execution_metadata_syncs', 'SELECT'),
    ('execution_metadata_syncs', 'INSERT'),
    ('execution_metadata_syncs', 'UPDATE'),
    ('workflows', 'SELECT'),
    ('clients', 'SELECT'),
    ('jobs', 'SELECT'),
    ('organizations', 'SELECT'),
    -- Nothing is written there, but a row lock wants it.
    ('jobs', 'UPDATE'),
    ('organizations', 'UPDATE')
) AS wanted (table_name, privilege)
LEFT JOIN pg_namespace AS n ON n.nspname = 'orchestration'
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = wanted.table_name

-- name: sync
-- Make execution_metadata equal to its sources where these were written since the last sync. One statement, so that
-- horizons and rows are of one moment. It waits for no application: what one has locked, the next sync takes.
-- Takes: organization_ids uuid[]; everything boolean (whether every job is compared, whenever it was written);
--        farthest bigint (how many transactions ago 32 bits can still tell before from after).
-- Gives: one row: organizations bigint (those that are up to date now), rows_inserted and rows_updated bigint.
WITH moment AS MATERIALIZED (
    SELECT
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
        (SELECT system_identifier FROM pg_control_system()) AS server
),
-- A horizon of NULL asks for every job: of another server, or too far away for 32 bits, it tells nothing.
known AS MATERIALIZED (
    SELECT
        o.id AS organization_id,
        CASE
            WHEN
                s.server = moment.server
                AND moment.horizon - s.horizon BETWEEN 0 AND %(farthest)s
                AND NOT %(everything)s
                THEN s.horizon
        END AS horizon
    FROM orchestration.organizations AS o
    CROSS JOIN moment
    LEFT JOIN orchestration.execution_metadata_syncs AS s ON s.organization_id = o.id
    WHERE o.id = ANY(%(organization_ids)s)
    FOR KEY SHARE OF o SKIP LOCKED
),
different AS MATERIALIZED (
    SELECT
        j.organization_id,
        j.id AS job_id,
        j.workflow_id,
        w.name AS workflow_name,
        j.client_id,
        c.name AS client_name,
        j.initiator_type,
        j.status,
        j.created_at,
        j.started_at,
        j.completed_at,
        j.deleted_at,
        m.job_id IS NULL AS is_new
    FROM known
    INNER JOIN orchestration.jobs AS j ON j.organization_id = known.organization_id
    INNER JOIN orchestration.workflows AS w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
    LEFT JOIN orchestration.execution_metadata AS m ON m.job_id = j.id
    WHERE
        -- Rows carry 32 bits of their transaction's id, which wrap around: before and after are decided on their circle.
        (
            known.horizon IS NULL
            OR ((j.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
            OR ((w.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
            OR ((c.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
        )
        AND (
            m.organization_id,
            m.workflow_id,
            m.workflow_name,
            m.client_id,
            m.client_name,
            m.initiator_type,
            m.status,
            m.created_at,
            m.started_at,
            m.completed_at,
            m.deleted_at
        ) IS DISTINCT FROM (
            j.organization_id,
            j.workflow_id,
            w.name,
            j.client_id,
            c.name,
            j.initiator_type,
            j.status,
            j.created_at,
            j.started_at,
            j.completed_at,
            j.deleted_at
        )
),
-- Who is about to be deleted, or was, cannot be referred to; a lock that an application holds is not waited for.
locked AS MATERIALIZED (
    SELECT j.id AS job_id
    FROM different
    INNER JOIN orchestration.jobs AS j ON j.id = different.job_id
    FOR KEY SHARE OF j SKIP LOCKED
),
written AS (
    INSERT INTO orchestration.execution_metadata (
        organization_id,
        job_id,
        workflow_id,
        workflow_name,
        client_id,
        client_name,
        initiator_type,
        status,
        created_at,
        started_at,
        completed_at,
        deleted_at,
        last_synced_at
    )
    SELECT
        organization_id,
        job_id,
        workflow_id,
        workflow_name,
        client_id,
        client_name,
        initiator_type,
        status,
        created_at,
        started_at,
        completed_at,
        deleted_at,
        statement_timestamp()
    FROM different
    INNER JOIN locked USING (job_id)
    ORDER BY organization_id, created_at
    ON CONFLICT (job_id) DO UPDATE
    SET
        organization_id = excluded.organization_id,
        workflow_id = excluded.workflow_id,
        workflow_name = excluded.workflow_name,
        client_id = excluded.client_id,
        client_name = excluded.client_name,
        initiator_type = excluded.initiator_type,
        status = excluded.status,
        created_at = excluded.created_at,
        started_at = excluded.started_at,
        completed_at = excluded.completed_at,
        deleted_at = excluded.deleted_at,
        last_synced_at = excluded.last_synced_at
),
remembered AS (
    INSERT INTO orchestration.execution_metadata_syncs (organization_id, horizon, server, synced_at)
    SELECT
        known.organization_id,
        moment.horizon,
        moment.server,
        statement_timestamp()
    FROM known
    CROSS JOIN moment
    WHERE NOT EXISTS (
        SELECT
        FROM different
        LEFT JOIN locked USING (job_id)
        WHERE different.organization_id = known.organization_id AND locked.job_id IS NULL
    )
    ON CONFLICT (organization_id) DO UPDATE
    SET horizon = excluded.horizon, server = excluded.server, synced_at = excluded.synced_at
    RETURNING organization_id
)
SELECT
    (SELECT count(*) FROM remembered) AS organizations,
    count(*) FILTER (WHERE is_new) AS rows_inserted,
    count(*) FILTER (WHERE NOT is_new) AS rows_updated
FROM different
INNER JOIN locked USING (job_id)
