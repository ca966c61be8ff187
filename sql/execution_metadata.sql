-- Executions beside the names of their workflows and clients, kept in step.

-- name: delete_left_over
-- Delete the metadata of jobs that are gone: a foreign key does so by itself, unless it was switched off.
-- Takes: organization_ids uuid[]. Gives: nothing; the number of rows deleted is what counts.
DELETE FROM orchestration.execution_metadata AS m
WHERE
    m.organization_id = ANY(%(organization_ids)s)
    AND NOT EXISTS (SELECT FROM orchestration.jobs AS j WHERE j.id = m.job_id)

-- name: horizon
-- The horizon of an organization's last sync; NULL, which asks for every job, if it is of another server, or too far
-- away for 32 bits. Takes: farthest bigint (how many transactions ago 32 bits can still tell before from after); the
-- rows `moment` and `s` of where it is put. Gives: a bigint.
CASE WHEN s.server = moment.server AND moment.horizon - s.horizon BETWEEN 0 AND %(farthest)s THEN s.horizon END

-- name: moment
-- Before which transaction all others have ended, and on which server. Takes: nothing. Gives: one row: horizon, server.
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
    (SELECT system_identifier FROM pg_control_system()) AS server

-- name: sources
-- What the metadata of each job should be. Rows carry 32 bits of their transaction's id, which wrap around: before and
-- after are decided on their circle.
-- Takes: the relation `known` of where it is put: organization_id uuid, horizon bigint (of its last sync, or NULL).
-- Gives: a row for each job: the columns of execution_metadata but for last_synced_at; is_pending (whether a source of
--        the row was written since).
SELECT
    j.organization_id, j.id AS job_id, j.workflow_id, w.name AS workflow_name, j.client_id, c.name AS client_name,
    j.initiator_type, j.status, j.created_at, j.started_at, j.completed_at, j.deleted_at,
    known.horizon IS NULL
    OR ((j.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
    OR ((w.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648
    OR coalesce(((c.xmin::text::bigint - known.horizon) & 4294967295) < 2147483648, false) AS is_pending
FROM known
INNER JOIN orchestration.jobs AS j ON j.organization_id = known.organization_id
INNER JOIN orchestration.workflows AS w ON w.id = j.workflow_id
LEFT JOIN orchestration.clients AS c ON c.id = j.client_id

-- name: drift
-- How far execution_metadata is from its sources, at one moment and without a value of any row.
-- Takes: organization_ids uuid[]; farthest bigint (as `horizon` does); examples bigint (how many jobs are named);
--        {differing} in its place: for each column its name where m and s differ in it, otherwise NULL.
-- Gives: one row per organization: organization_id; rows_compared, rows_pending (written since the last sync, so no
--        drift), rows_missing, rows_left_over and rows_differing, bigint; columns jsonb (in how many
--        rows each differs, if in any); job_ids uuid[] (some of those that drifted).
WITH moment AS MATERIALIZED ({moment}),
known AS MATERIALIZED (
    SELECT asked.organization_id, {horizon} AS horizon
    FROM unnest(%(organization_ids)s::uuid[]) AS asked (organization_id)
    CROSS JOIN moment
    LEFT JOIN orchestration.execution_metadata_syncs AS s ON s.organization_id = asked.organization_id
),
compared AS MATERIALIZED (
    SELECT
        s.organization_id, s.job_id, s.is_pending,
        NOT s.is_pending AND m.job_id IS NULL AS is_missing,
        CASE WHEN NOT s.is_pending AND m.job_id IS NOT NULL THEN array_remove(ARRAY[{differing}], NULL) END AS differing
    FROM ({sources}) AS s
    LEFT JOIN orchestration.execution_metadata AS m ON m.job_id = s.job_id
),
judged AS (
    SELECT organization_id, job_id, is_pending, is_missing, false AS is_left_over, differing <> '{}' AS is_different
    FROM compared
    UNION ALL
    SELECT known.organization_id, m.job_id, false, false, true, false
    FROM known
    INNER JOIN orchestration.execution_metadata AS m ON m.organization_id = known.organization_id
    WHERE NOT EXISTS (SELECT FROM orchestration.jobs AS j WHERE j.id = m.job_id)
),
counted AS (
    SELECT organization_id, jsonb_object_agg(name, rows) AS columns
    FROM (
        SELECT organization_id, unnest(differing) AS name, count(*) AS rows FROM compared GROUP BY 1, 2
    ) AS of_columns
    GROUP BY organization_id
)
SELECT
    known.organization_id,
    count(*) FILTER (WHERE NOT is_pending) AS rows_compared,
    count(*) FILTER (WHERE is_pending) AS rows_pending,
    count(*) FILTER (WHERE is_missing) AS rows_missing,
    count(*) FILTER (WHERE is_left_over) AS rows_left_over,
    count(*) FILTER (WHERE is_different) AS rows_differing,
    coalesce(counted.columns, '{}') AS columns,
    coalesce(
        (array_agg(job_id) FILTER (WHERE is_missing OR is_left_over OR is_different))[1:%(examples)s], '{}'
    ) AS job_ids
FROM known
LEFT JOIN judged ON judged.organization_id = known.organization_id
LEFT JOIN counted ON counted.organization_id = known.organization_id
GROUP BY known.organization_id, counted.columns
ORDER BY known.organization_id

-- name: limits
-- Bound what the statements that follow in this transaction may take.
-- Takes: patience text (how long anybody is waited for), longest text (per statement). Gives: one row, read for nothing.
SELECT set_config('lock_timeout', %(patience)s, true), set_config('statement_timeout', %(longest)s, true)

-- name: lock
-- Let one sync at a time write execution_metadata; the lock ends with the transaction.
-- Takes: nothing. Gives: nothing that is read.
SELECT pg_advisory_xact_lock(hashtextextended('execution-metrics metadata', 0))

-- name: organizations
-- Whose metadata can be synced. Takes: nothing. Gives: the id of each organization, in order.
SELECT id FROM orchestration.organizations ORDER BY id

-- name: standing
-- Whether execution_metadata is there, and whether this role may do to it and to its sources what a sync does.
-- Takes: nothing. Gives: one row: is_there, is_ours and is_read_only, boolean.
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
    ('execution_metadata', 'SELECT'), ('execution_metadata', 'INSERT'),
    ('execution_metadata', 'UPDATE'), ('execution_metadata', 'DELETE'),
    ('execution_metadata_syncs', 'SELECT'), ('execution_metadata_syncs', 'INSERT'), ('execution_metadata_syncs', 'UPDATE'),
    ('workflows', 'SELECT'), ('clients', 'SELECT'), ('jobs', 'SELECT'), ('organizations', 'SELECT'),
    -- Nothing is written there, but a row lock wants it.
    ('jobs', 'UPDATE'), ('organizations', 'UPDATE')
) AS wanted (table_name, privilege)
LEFT JOIN pg_namespace AS n ON n.nspname = 'orchestration'
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = wanted.table_name

-- name: sync
-- Make execution_metadata equal to its sources where these were written since the last sync. One statement, so that
-- horizons and rows are of one moment. It waits for no application: what one has locked, the next sync takes.
-- Takes: organization_ids uuid[]; everything boolean (whether every job is compared, whenever it was written);
--        farthest bigint (as `horizon` does); in their places the copied {columns}, job_id among them, and the same of
--        the sources, {of_sources}, of the copies, {of_copies}, and of rows that meet another, {new_values}.
-- Gives: one row: organizations bigint (those that are up to date now), rows_inserted and rows_updated bigint.
WITH moment AS MATERIALIZED ({moment}),
known AS MATERIALIZED (
    SELECT o.id AS organization_id, CASE WHEN NOT %(everything)s THEN {horizon} END AS horizon
    FROM orchestration.organizations AS o
    CROSS JOIN moment
    LEFT JOIN orchestration.execution_metadata_syncs AS s ON s.organization_id = o.id
    WHERE o.id = ANY(%(organization_ids)s)
    FOR KEY SHARE OF o SKIP LOCKED
),
different AS MATERIALIZED (
    SELECT s.*, m.job_id IS NULL AS is_new
    FROM ({sources}) AS s
    LEFT JOIN orchestration.execution_metadata AS m ON m.job_id = s.job_id
    WHERE s.is_pending AND ({of_copies}) IS DISTINCT FROM ({of_sources})
),
-- A job that is about to be deleted, or was, cannot be referred to; a lock that an application holds is not waited for.
locked AS MATERIALIZED (
    SELECT j.id AS job_id
    FROM different
    INNER JOIN orchestration.jobs AS j ON j.id = different.job_id
    FOR KEY SHARE OF j SKIP LOCKED
),
written AS (
    INSERT INTO orchestration.execution_metadata ({columns}, last_synced_at)
    SELECT {columns}, statement_timestamp()
    FROM different
    INNER JOIN locked USING (job_id)
    ORDER BY organization_id, created_at
    ON CONFLICT (job_id) DO UPDATE SET ({columns}, last_synced_at) = ({new_values}, excluded.last_synced_at)
),
remembered AS (
    INSERT INTO orchestration.execution_metadata_syncs (organization_id, horizon, server, synced_at)
    SELECT known.organization_id, moment.horizon, moment.server, statement_timestamp()
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
