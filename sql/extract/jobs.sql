-- Jobs as they are judged and kept: one statement for all organizations, ended by what is asked for.
-- Takes: the expression row_hash.sql and one of asked/*.sql, in their places, with what that one takes.
-- Gives: one row per job, contract columns only; no payload. A time that other programs cannot hold
--        (infinite, or outside years 1-9999) is NULL beside a flag. An initiator_type of more than 500
--        characters is cut to 501.
SELECT
    j.id AS job_id,
    j.organization_id,
    j.workflow_id,
    j.client_id,
    left(j.initiator_type::text, 501) AS initiator_type,
    j.status::text AS status,
    CASE WHEN j.created_at >= '0001-01-01Z' AND j.created_at < '10000-01-01Z' THEN j.created_at END AS created_at,
    CASE WHEN j.started_at >= '0001-01-01Z' AND j.started_at < '10000-01-01Z' THEN j.started_at END AS started_at,
    CASE WHEN j.completed_at >= '0001-01-01Z' AND j.completed_at < '10000-01-01Z' THEN j.completed_at END AS completed_at,
    {row_hash} AS row_hash,
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
{asked}
