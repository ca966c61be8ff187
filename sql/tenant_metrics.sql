-- The metrics of one tenant.

-- name: completeness
-- How complete one tenant's metrics are, and what it is called.
-- Takes: organization_id uuid.
-- Gives: one row, or none when nothing was published: organization_name (may be NULL), complete_through, extracted_at,
--        published_at, published_version, verified_at (may be NULL), edition, time_zone.
SELECT
    organizations.name AS organization_name, complete_through, extracted_at, published_at, published_version,
    verified_at, edition, published.time_zone
FROM analytics.watermarks AS published
LEFT JOIN analytics.organizations ON organizations.id = published.organization_id
WHERE published.subject = 'jobs' AND published.organization_id = %(organization_id)s

-- name: found
-- One tenant's figures over a range, the longest first: for each value of a dimension that has rows in it, or in all.
-- Takes: what summed does, which is put in place of {summed}; {which}, the dimension that is NULL, or NULL for none.
-- Gives: one row per value: the columns of asked, which (the value), and the columns of figures. Without rows one row,
--        in which which and the figures are NULL.
WITH {summed}
SELECT asked.*, {which} AS which, figures.*
FROM asked
LEFT JOIN figures ON true
ORDER BY figures.{longest} DESC NULLS LAST, which

-- name: in_use
-- One tenant's figures over a range for each of its workflows or clients in use, and for the rows without one if there
-- are any, the longest first.
-- Takes: what summed does, which is put in place of {summed}; the dimension {by} is NULL, the others are not.
-- Gives: one row per id in {by_entities}: the columns of asked, which (the id, or none_ of the dimension), name (may be
--        NULL), and the columns of figures, NULL when nothing was counted. Without any one row, in which which is NULL.
WITH {summed},
known AS (
    SELECT id, name, true AS listed
    FROM {by_entities}
    WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
    UNION ALL
    SELECT {by}, NULL, true FROM figures WHERE {by} = %(none_{by})s::uuid
)
SELECT asked.*, listed.*
FROM asked
LEFT JOIN (
    SELECT known.id AS which, known.name, figures.*
    FROM known
    -- No nested loop, as in summed.
    FULL JOIN figures ON figures.{by} = known.id
    WHERE coalesce(known.listed, false)
) AS listed ON true
ORDER BY listed.{longest} DESC NULLS LAST, listed.name, listed.which

-- name: execution_metadata
-- One tenant's executions with the names of their workflows and clients, the newest first.
-- Takes: organization_id uuid; job_id uuid, workflow_id uuid, client_id uuid and status text: one, or NULL for any;
--        no_client uuid (the client_id of those without one); include_deleted boolean; after_created_at text and
--        after_job uuid (the place of the last row that was taken, NULL for none); rows bigint (how many at most).
-- Gives: organization_id, job_id, workflow_id, workflow_name, client_id, client_name, initiator_type, status,
--        created_at, started_at, completed_at and deleted_at (NULL where other programs cannot hold the time),
--        is_deleted, last_synced_at, synced_at (through when the tenant's changes are copied, NULL before the first
--        sync) and place (created_at as text).
SELECT
    m.organization_id, m.job_id, m.workflow_id, m.workflow_name, m.client_id, m.client_name, m.initiator_type,
    m.status::text AS status,
    CASE WHEN m.created_at >= '0001-01-01Z' AND m.created_at < '10000-01-01Z' THEN m.created_at END AS created_at,
    CASE WHEN m.started_at >= '0001-01-01Z' AND m.started_at < '10000-01-01Z' THEN m.started_at END AS started_at,
    CASE WHEN m.completed_at >= '0001-01-01Z' AND m.completed_at < '10000-01-01Z' THEN m.completed_at END AS completed_at,
    CASE WHEN m.deleted_at >= '0001-01-01Z' AND m.deleted_at < '10000-01-01Z' THEN m.deleted_at END AS deleted_at,
    m.deleted_at IS NOT NULL AS is_deleted, m.last_synced_at, m.created_at::text AS place,
    (SELECT synced_at FROM orchestration.execution_metadata_syncs WHERE organization_id = %(organization_id)s) AS synced_at
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

-- name: identity
-- Say whose rows this transaction may see; the policies of the tables ask for it.
-- Takes: organization_id text.
-- Gives: one row.
SELECT set_config('execmetrics.organization_id', %(organization_id)s, true)

-- name: is_known
-- Is the workflow or client that is named the tenant's and in use; put in place of {visible} for each such dimension.
-- Takes: organization_id uuid; the value of {column}, and every_ and none_ of it: the sentinels.
-- Gives: a column, named after {short}.
%({column})s::uuid IS NULL OR %({column})s::uuid IN (%(every_{column})s::uuid, %(none_{column})s::uuid) OR EXISTS (
    SELECT FROM analytics.{short}s AS known
    WHERE known.id = %({column})s AND known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
) AS {short}_is_visible

-- name: metrics
-- One tenant's stored rows of a period, in the order of their keys.
-- Takes: organization_id uuid, period text, since and until timestamptz (of period_start); for each dimension its value:
--        one, the sentinel of all, or NULL for each, and every_ of it: the sentinel; after_start timestamptz and after_
--        of each dimension (the key of the last row that was taken, NULL for none); rows bigint (how many at most).
-- Gives: period_start, the dimensions and the measures of the subject, in their order.
SELECT period_start, {dimensions}, {measures}
FROM {table}
WHERE
    organization_id = %(organization_id)s AND period = %(period)s
    AND period_start >= %(since)s AND period_start < %(until)s
    AND {chosen}
    AND (%(after_start)s::timestamptz IS NULL OR (period_start, {dimensions}) > (%(after_start)s, {after}))
ORDER BY period_start, {dimensions}
LIMIT %(rows)s

-- name: in_spans
-- The cells of the CTE mine in some spans; put in the places {in_spans} and {in_histogram_spans}.
-- Takes: periods text[], since timestamptz[], until timestamptz[] of the spans, their names after {spans}.
-- Gives: what follows FROM: the cells as stored.
unnest(%({spans}periods)s::text[], %({spans}since)s::timestamptz[], %({spans}until)s::timestamptz[])
    AS span (period, since, until)
INNER JOIN mine AS stored
    ON stored.period = span.period AND stored.period_start >= span.since AND stored.period_start < span.until

-- name: summed
-- What is stored of one tenant in some spans, added up per key; put in place of {summed}.
-- Takes: organization_id uuid; for each dimension its value: one, the sentinel of all, or NULL for each, and every_ and
--        none_ of it: the sentinels; periods text[], since timestamptz[], until timestamptz[]: the spans;
--        histogram_periods, histogram_since, histogram_until: spans of hours and days whose histograms are added up, or
--        none; shares numeric[]: of the percentiles.
-- Gives: CTEs: asked (one row: for workflow and client whether the one that is named is the tenant's and in use) and
--        figures (one row per key: the measures, of which percentiles are exact for single rows; low and high, the
--        numbers of the buckets between which each percentile lies, and told_executions, how many rows these buckets
--        have: NULL without histograms).
asked AS (SELECT {visible}),
mine AS NOT MATERIALIZED (
    SELECT * FROM {table} WHERE organization_id = %(organization_id)s AND {chosen}
),
sums AS (
    SELECT {stored_dimensions}, {figures}
    FROM {in_spans}
    GROUP BY {stored_dimensions}
),
told AS MATERIALIZED (
    SELECT
        {stored_dimensions},
        -- A small number takes less time to group and sort by than the dimensions.
        dense_rank() OVER (ORDER BY {stored_dimensions})::integer AS key,
        stored.{timed}, stored.{minimum}, stored.{maximum}, stored.histogram_buckets, stored.histogram_counts
    FROM {in_histogram_spans}
),
ranked AS (
    SELECT key, number, sum(sum(jobs)) OVER (PARTITION BY key ORDER BY number) AS up_to
    FROM (
        -- Two lists side by side take less time than a join with them.
        SELECT key, unnest(histogram_buckets) AS number, unnest(histogram_counts) AS jobs
        FROM told
        UNION ALL
        -- One or two jobs are told by the shortest and the longest.
        SELECT
            told.key,
            CASE WHEN extreme.ms = 0 THEN -1 ELSE ceil(ln(round(extreme.ms * 1000)) / ln(1.02::float8)) END::smallint,
            1
        FROM told
        CROSS JOIN LATERAL (VALUES (told.{minimum}, 1), (told.{maximum}, 2)) AS extreme (ms, timed)
        WHERE told.{timed} BETWEEN extreme.timed AND 2
    ) AS bucket
    GROUP BY key, number
),
piled AS (
    SELECT
        key, array_agg(number ORDER BY number) AS numbers, array_agg(up_to ORDER BY number) AS up_to,
        max(up_to) AS told_executions
    FROM ranked
    GROUP BY key
),
estimates AS MATERIALIZED (
    SELECT key, told_executions::bigint AS told_executions, around.low, around.high
    FROM piled
    CROSS JOIN LATERAL (
        -- How many buckets end before the job of a rank: the next one has it.
        SELECT
            array_agg(numbers[1 + width_bucket(floor(share * (told_executions - 1)), up_to)] ORDER BY place) AS low,
            array_agg(numbers[1 + width_bucket(ceil(share * (told_executions - 1)), up_to)] ORDER BY place) AS high
        FROM unnest(%(shares)s::numeric[]) WITH ORDINALITY AS wanted (share, place)
    ) AS around
),
-- Joined to what a caller lists, and few rows are expected of it: worked out once all the same. Full joins are never
-- nested loops, which are chosen while nobody has analyzed a table, and take minutes for ten thousand workflows.
figures AS MATERIALIZED (
    SELECT sums.*, estimates.low, estimates.high, estimates.told_executions
    FROM sums
    FULL JOIN (SELECT DISTINCT key, {dimensions} FROM told) AS keys ON {same_dimensions}
    FULL JOIN estimates ON estimates.key = keys.key
    -- A condition that the planner does not look into, or it would make them left joins again.
    WHERE coalesce(sums.{total}, 0) > 0
)

-- name: zone_offsets
-- By which clocks one tenant's days, weeks and months begin.
-- Takes: organization_id uuid.
-- Gives: since and offset_s of its zone, in the order of time; no row for UTC.
SELECT rule.since, rule.offset_s
FROM analytics.watermarks AS published
INNER JOIN analytics.time_zone_offsets AS rule ON rule.time_zone = published.time_zone
WHERE published.subject = 'jobs' AND published.organization_id = %(organization_id)s
ORDER BY rule.since
