-- Which jobs may have moved a figure since their organization's cursor: one pass, all organizations.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon}; a horizon of null, or an
--        organization that is not listed, means every job. execmetrics.scope, `all` or `listed`: the
--        latter leaves every organization out that has no cursor in the list. execmetrics.since and
--        .until: jobs completed in [since, until) come too. execmetrics.job_ids uuid[]: these too.
-- Gives: one row per job, contract columns only; no payload. A time that other programs cannot hold
--        (infinite, or outside years 1-9999) is NULL beside a flag.
WITH cursors AS MATERIALIZED (
    SELECT c.organization_id, c.horizon
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS c (organization_id uuid, horizon bigint)
),
listed AS MATERIALIZED (
    SELECT DISTINCT unnest(current_setting('execmetrics.job_ids')::uuid[]) AS id
)
SELECT
    j.id AS job_id,
    j.organization_id,
    j.workflow_id,
    j.client_id,
    j.initiator_type::text AS initiator_type,
    j.status::text AS status,
    CASE WHEN j.created_at >= '0001-01-01Z' AND j.created_at < '10000-01-01Z' THEN j.created_at END AS created_at,
    CASE WHEN j.started_at >= '0001-01-01Z' AND j.started_at < '10000-01-01Z' THEN j.started_at END AS started_at,
    CASE WHEN j.completed_at >= '0001-01-01Z' AND j.completed_at < '10000-01-01Z' THEN j.completed_at END AS completed_at,
    hash_record_extended(
        ROW (
            j.organization_id, j.workflow_id, j.client_id, j.initiator_type::text, j.status::text,
            j.created_at, j.started_at, j.completed_at, j.deleted_at IS NULL, w.organization_id, c.organization_id
        ),
        0
    ) AS row_hash,
    j.deleted_at IS NOT NULL AS deleted,
    j.started_at IS NULL OR j.completed_at IS NULL AS missing_timestamp,
    NOT (
        isfinite(j.created_at) AND isfinite(j.updated_at)
        AND isfinite(coalesce(j.started_at, 'epoch')) AND isfinite(coalesce(j.completed_at, 'epoch'))
    ) AS infinite_timestamp,
    (isfinite(j.created_at) AND (j.created_at < '0001-01-01Z' OR j.created_at >= '10000-01-01Z'))
    OR (isfinite(j.updated_at) AND (j.updated_at < '0001-01-01Z' OR j.updated_at >= '10000-01-01Z'))
    OR coalesce(isfinite(j.started_at) AND (j.started_at < '0001-01-01Z' OR j.started_at >= '10000-01-01Z'), false)
    OR coalesce(isfinite(j.completed_at) AND (j.completed_at < '0001-01-01Z' OR j.completed_at >= '10000-01-01Z'), false)
    AS timestamp_out_of_range,
    coalesce(w.organization_id <> j.organization_id, false) AS foreign_workflow,
    coalesce(c.organization_id <> j.organization_id, false) AS foreign_client
FROM orchestration.jobs AS j
LEFT JOIN orchestration.workflows AS w ON w.id = j.workflow_id
LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
LEFT JOIN cursors ON cursors.organization_id = j.organization_id
CROSS JOIN LATERAL (
    SELECT
        j.id IN (SELECT listed.id FROM listed) AS by_id,
        coalesce(
            j.completed_at >= (SELECT current_setting('execmetrics.since')::timestamptz)
            AND j.completed_at < (SELECT current_setting('execmetrics.until')::timestamptz),
            false
        ) AS by_range
) AS asked
WHERE
    -- Decided in the scan of jobs alone; transaction ids wrap around at 32 bits, so "at or after the
    -- horizon" is decided on their circle.
    (
        ((j.xmin::text::bigint - (SELECT min(horizon) FROM cursors)) & 4294967295) < 2147483648
        OR asked.by_range
        OR asked.by_id
        OR j.organization_id NOT IN (SELECT known.organization_id FROM cursors AS known WHERE known.horizon IS NOT NULL)
    )
    AND (
        asked.by_id
        OR (
            (current_setting('execmetrics.scope') = 'all' OR cursors.organization_id IS NOT NULL)
            AND (
                cursors.horizon IS NULL
                OR ((j.xmin::text::bigint - cursors.horizon) & 4294967295) < 2147483648
                OR asked.by_range
            )
        )
    )
