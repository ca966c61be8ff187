-- How far execution_metadata is from its sources, at one moment and without a value of any row.
-- Takes: organization_ids uuid[]; farthest bigint (as sync.sql does); examples bigint (how many jobs are named).
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
