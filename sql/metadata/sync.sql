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
