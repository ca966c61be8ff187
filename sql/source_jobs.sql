-- Jobs of the source.

-- name: census
-- How many jobs each organization has that the facts or the list of anomalies must know, and which ones changed.
-- Takes: execmetrics.cursors and execmetrics.scope, as selected_swept does.
-- Gives: one row per organization: organization_id, reported (jobs that are neither unfinished nor deleted),
--        changed_ids bytea (16 bytes for each job that was written since the oldest horizon; NULL without any).
SELECT
    counted.organization_id,
    coalesce(
        sum(counted.jobs) FILTER (WHERE (counted.status IN ('PENDING', 'RUNNING', 'CANCELLED')) IS NOT TRUE), 0
    )::bigint AS reported,
    string_agg(counted.changed_ids, '') AS changed_ids
FROM (
    -- By what the rows hold, because a status turned into text for each of them takes twice as long.
    SELECT
        j.organization_id,
        j.status::text AS status,
        count(*) FILTER (WHERE j.deleted_at IS NULL) AS jobs,
        string_agg(uuid_send(j.id), '') FILTER (
            WHERE age(j.xmin) <= (
                SELECT max(age((known.horizon & 4294967295)::text::xid))
                FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
            )
        ) AS changed_ids
    FROM orchestration.jobs AS j
    WHERE
        (SELECT current_setting('execmetrics.scope') = 'all')
        OR j.organization_id IN (
            SELECT listed.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS listed (organization_id uuid)
        )
    GROUP BY j.organization_id, j.status
) AS counted
GROUP BY counted.organization_id

-- name: checksum_of_completed_in
-- The condition that limits checksums to a range of completion.
-- Takes: execmetrics.completed_since (inclusive) and execmetrics.completed_until (exclusive), timestamptz.
-- Gives: a job j that completed within.
AND j.completed_at >= (SELECT current_setting('execmetrics.completed_since')::timestamptz)
AND j.completed_at < (SELECT current_setting('execmetrics.completed_until')::timestamptz)

-- name: checksum_of_created_since
-- The condition that limits checksums to recent days of creation.
-- Takes: execmetrics.created_since timestamptz, the first moment of a UTC day.
-- Gives: a job j that was created then or later.
AND j.created_at >= (SELECT current_setting('execmetrics.created_since')::timestamptz)

-- name: checksum_of_organizations
-- The condition that limits checksums to some organizations.
-- Takes: execmetrics.organization_ids uuid[].
-- Gives: a job j of theirs.
AND j.organization_id IN (SELECT unnest(current_setting('execmetrics.organization_ids')::uuid[]))

-- name: checksums
-- How many jobs count, and what they are, in three numbers per organization and UTC day of creation.
-- Takes: the expression row_hash and any of checksum_of_*, in their places, with what those take; the
--        first and the last completion believed, execmetrics.earliest and .latest (timestamptz);
--        execmetrics.reserved_ids uuid[] and .reserved_initiators text[].
-- Gives: one row per organization and day with jobs that count: organization_id, created_date, jobs, and the
--        sums of the lower and the upper 32 bits of their hashes, low and high, which fit into a bigint.
SELECT
    counted.organization_id,
    counted.created_date,
    count(*) AS rows,
    sum(counted.row_hash & 4294967295)::bigint AS low,
    sum(counted.row_hash >> 32)::bigint AS high
FROM (
    SELECT
        j.organization_id,
        (j.created_at AT TIME ZONE 'UTC')::date AS created_date,
        {row_hash} AS row_hash
    FROM orchestration.jobs AS j
    LEFT JOIN orchestration.workflows AS w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
    WHERE
        -- A condition that the planner does not look into: it would take its parts for a handful of rows.
        coalesce(
            j.deleted_at IS NULL
            AND j.completed_at >= '0001-01-01Z' AND j.completed_at < '10000-01-01Z'
            AND j.started_at >= '0001-01-01Z' AND j.started_at < '10000-01-01Z'
            AND j.created_at >= '0001-01-01Z' AND j.created_at < '10000-01-01Z'
            AND j.updated_at >= '0001-01-01Z' AND j.updated_at < '10000-01-01Z'
            AND j.completed_at >= (SELECT current_setting('execmetrics.earliest')::timestamptz)
            AND j.completed_at <= (SELECT current_setting('execmetrics.latest')::timestamptz)
            AND j.status::text IN ('COMPLETED', 'FAILED')
            AND (j.organization_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (j.workflow_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (j.client_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (
                j.initiator_type::text = ANY ((SELECT current_setting('execmetrics.reserved_initiators')::text[])::text[])
            ) IS NOT TRUE
            AND (length(j.initiator_type::text) > 500) IS NOT TRUE,
            false
        )
        AND coalesce(w.organization_id = j.organization_id, true)
        AND coalesce(c.organization_id = j.organization_id, true)
        {narrowed}
    -- Kept apart: the planner would compute each hash anew for either sum.
    OFFSET 0
) AS counted
GROUP BY counted.organization_id, counted.created_date

-- name: jobs
-- Jobs as they are judged and kept: one statement for all organizations, ended by what is asked for.
-- Takes: the expression row_hash and one of selected_*, or of source_rows/selected_on_days and _listed, in their
--        places, with what that one takes.
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

-- name: row_hash
-- Everything about a job that can move a figure, as one number: the expression that reads and checksums share.
-- Takes: a job j, its workflow w and its client c, either of them NULL where there is none.
-- Gives: a bigint.
hash_record_extended(
    ROW (
        j.organization_id, j.workflow_id, j.client_id, j.initiator_type::text, j.status::text,
        j.created_at, j.started_at, j.completed_at, j.deleted_at IS NULL, w.organization_id, c.organization_id
    ),
    0
)

-- name: selected_indexed
-- The end of jobs that asks for the jobs updated since their organization's moment.
-- Takes: execmetrics.moments, a JSON array of {organization_id, since}; an organization that is not listed has
--        the earliest moment of all, and every job when none is listed. execmetrics.scope, `all` or
--        `listed`: the latter leaves every organization out that is not listed.
-- Gives: a job j whose updated_at is at or past the moment.
LEFT JOIN jsonb_to_recordset(current_setting('execmetrics.moments')::jsonb)
    AS moment (organization_id uuid, since timestamptz) ON moment.organization_id = j.organization_id
WHERE
    j.updated_at >= (
        SELECT coalesce(min(known.since), '-infinity')
        FROM jsonb_to_recordset(current_setting('execmetrics.moments')::jsonb) AS known (since timestamptz)
    )
    -- Always so: a range with two ends is taken for a small one, for which no other table is read whole.
    AND j.updated_at <= 'infinity'
    AND (moment.since IS NOT NULL OR (SELECT current_setting('execmetrics.scope') = 'all'))
    AND (moment.since IS NULL OR j.updated_at >= moment.since)

-- name: selected_of_owners
-- The end of jobs that asks for the jobs of workflows and of clients.
-- Takes: execmetrics.workflow_ids and execmetrics.client_ids, uuid[].
-- Gives: a job j that has such a workflow, or such a client, of any organization.
WHERE
    j.workflow_id IN (SELECT unnest(current_setting('execmetrics.workflow_ids')::uuid[]))
    OR j.client_id IN (SELECT unnest(current_setting('execmetrics.client_ids')::uuid[]))

-- name: selected_swept
-- The end of jobs that asks for the jobs written since their organization's cursor.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon}; a horizon of null, or an
--        organization that is not listed, means every job. execmetrics.scope, `all` or `listed`: the
--        latter leaves every organization out that is not listed.
-- Gives: a job j whose xmin is at or past the horizon; transaction ids wrap around at 32 bits, so that is
--        decided by their age, which no conversion to text makes slow.
LEFT JOIN (
    SELECT
        known.organization_id,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (organization_id uuid, horizon bigint)
) AS cursors ON cursors.organization_id = j.organization_id
WHERE
    -- These two are decided in the scan of jobs alone.
    (
        (SELECT current_setting('execmetrics.scope') = 'all')
        OR j.organization_id IN (
            SELECT listed.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS listed (organization_id uuid)
        )
    )
    AND (
        age(j.xmin) <= (
            SELECT max(age((known.horizon & 4294967295)::text::xid))
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
        )
        OR j.organization_id NOT IN (
            SELECT known.organization_id
            FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
                AS known (organization_id uuid, horizon bigint)
            WHERE known.horizon IS NOT NULL
        )
    )
    AND (cursors.oldest IS NULL OR age(j.xmin) <= cursors.oldest)

-- name: size
-- How large the table of jobs is, its partitions included; for a view, what it reads.
-- Takes: nothing; needs no right to read the table.
-- Gives: one row: bytes bigint.
WITH RECURSIVE beneath AS (
    SELECT 'orchestration.jobs'::regclass::oid AS oid
    UNION
    SELECT d.refobjid AS oid
    FROM beneath
    INNER JOIN pg_rewrite AS r ON r.ev_class = beneath.oid AND r.ev_type = '1'
    INNER JOIN pg_depend AS d
        ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
)
SELECT
    coalesce(
        sum(
            coalesce(
                (SELECT sum(pg_table_size(tree.relid)) FROM pg_partition_tree(beneath.oid) AS tree),
                pg_table_size(beneath.oid)
            )
        ),
        0
    )::bigint AS bytes
FROM beneath
