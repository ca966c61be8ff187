-- The metrics of one tenant.

-- name: by_client
-- One tenant's figures over a range for each of its clients in use, and for the jobs without one if there are any,
-- those that take longest first.
-- Takes: what summed does, which is put in place of {summed}; client_id is NULL, the others are not.
-- Gives: one row per client: the columns of asked, which (its id, or no_client), name (may be NULL), and the columns
--        of figures, NULL when nothing was counted. Without clients one row, in which which is NULL.
WITH {summed},
known AS (
    SELECT id, name, true AS listed
    FROM analytics.clients
    WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
    UNION ALL
    SELECT client_id, NULL, true
    FROM figures
    WHERE client_id = %(no_client)s
)
SELECT asked.*, listed.*
FROM asked
LEFT JOIN (
    SELECT known.id AS which, known.name, figures.*
    FROM known
    -- No nested loop, as in summed.
    FULL JOIN figures ON figures.client_id = known.id
    WHERE coalesce(known.listed, false)
) AS listed ON true
ORDER BY listed.average_duration_ms DESC NULLS LAST, listed.name, listed.which

-- name: by_initiator
-- One tenant's figures over a range for each initiator type that started a job in it, those that take longest first.
-- Takes: what summed does, which is put in place of {summed}; initiator_type is NULL, the others are not.
-- Gives: one row per initiator type: the columns of asked, which (the type), and the columns of figures. Without jobs
--        one row, in which which is NULL.
WITH {summed}
SELECT asked.*, figures.initiator_type AS which, figures.*
FROM asked
LEFT JOIN figures ON true
ORDER BY figures.average_duration_ms DESC NULLS LAST, figures.initiator_type

-- name: by_workflow
-- One tenant's figures over a range for each of its workflows in use, those that take longest first.
-- Takes: what summed does, which is put in place of {summed}; workflow_id is NULL, the others are not.
-- Gives: one row per workflow: the columns of asked, which (its id), name (may be NULL), and the columns of figures,
--        NULL when nothing was counted. Without workflows one row, in which which is NULL.
WITH {summed},
known AS (
    SELECT id, name, true AS listed
    FROM analytics.workflows
    WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
)
SELECT asked.*, listed.*
FROM asked
LEFT JOIN (
    SELECT known.id AS which, known.name, figures.*
    FROM known
    -- No nested loop, as in summed.
    FULL JOIN figures ON figures.workflow_id = known.id
    WHERE coalesce(known.listed, false)
) AS listed ON true
ORDER BY listed.average_duration_ms DESC NULLS LAST, listed.name, listed.which

-- name: clients
-- The clients of one tenant that are in use.
-- Takes: organization_id uuid.
-- Gives: id, name (may be NULL), by name.
SELECT id, name
FROM analytics.clients
WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
ORDER BY name, id

-- name: completeness
-- How complete one tenant's metrics are, and what it is called.
-- Takes: organization_id uuid.
-- Gives: one row, or none when nothing was published: organization_name (may be NULL), complete_through, extracted_at,
--        published_at, published_version, verified_at (may be NULL), edition, time_zone.
SELECT
    organizations.name AS organization_name,
    published.complete_through,
    published.extracted_at,
    published.published_at,
    published.published_version,
    published.verified_at,
    published.edition,
    published.time_zone
FROM analytics.watermarks AS published
LEFT JOIN analytics.organizations ON organizations.id = published.organization_id
WHERE published.subject = 'jobs' AND published.organization_id = %(organization_id)s

-- name: estimates
-- Between which buckets of durations each percentile lies; put in place of {estimates}.
-- Takes: a CTE told (key, timed_executions, min_duration_ms, max_duration_ms, histogram_buckets, histogram_counts of
--        cells); shares numeric[]: of the percentiles.
-- Gives: CTEs, the last of them estimates: one row per key, with told_executions, how many jobs the buckets have, and
--        low and high, the numbers of the buckets around each percentile.
buckets AS (
    SELECT key, number, sum(jobs) AS jobs
    FROM (
        -- Two lists side by side take less time than a join with them.
        SELECT key, unnest(histogram_buckets) AS number, unnest(histogram_counts) AS jobs
        FROM told
        UNION ALL
        -- One or two jobs are told by the shortest and the longest.
        SELECT
            told.key,
            CASE
                WHEN extreme.ms = 0 THEN -1
                ELSE ceil(ln(round(extreme.ms * 1000)) / ln(1.02::double precision))
            END::smallint,
            1
        FROM told
        CROSS JOIN LATERAL (VALUES (told.min_duration_ms, 1), (told.max_duration_ms, 2)) AS extreme (ms, timed)
        WHERE told.timed_executions BETWEEN extreme.timed AND 2
    ) AS bucket
    GROUP BY key, number
),
ranked AS (
    SELECT key, number, sum(jobs) OVER (PARTITION BY key ORDER BY number) AS up_to
    FROM buckets
),
piled AS (
    SELECT
        key, array_agg(number ORDER BY number) AS numbers, array_agg(up_to ORDER BY number) AS up_to,
        max(up_to) AS told_executions
    FROM ranked
    GROUP BY key
),
estimates AS MATERIALIZED (
    SELECT
        key,
        told_executions::bigint AS told_executions,
        ARRAY(
            -- How many buckets end before the job of that rank: the next one has it.
            SELECT piled.numbers[1 + width_bucket(floor(share * (piled.told_executions - 1)), piled.up_to)]
            FROM unnest(%(shares)s::numeric[]) WITH ORDINALITY AS wanted (share, place)
            ORDER BY place
        ) AS low,
        ARRAY(
            SELECT piled.numbers[1 + width_bucket(ceil(share * (piled.told_executions - 1)), piled.up_to)]
            FROM unnest(%(shares)s::numeric[]) WITH ORDINALITY AS wanted (share, place)
            ORDER BY place
        ) AS high
    FROM piled
)

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

-- name: identity
-- Say whose rows this transaction may see; the policies of the tables ask for it.
-- Takes: organization_id text.
-- Gives: one row.
SELECT set_config('execmetrics.organization_id', %(organization_id)s, true)

-- name: metrics
-- One tenant's stored rows of a period, in the order of their keys.
-- Takes: organization_id uuid, period text, since and until timestamptz (of period_start); workflow_id, client_id uuid
--        and initiator_type text: one, the sentinel of all, or NULL for each; after_start timestamptz, after_workflow
--        and after_client uuid, after_initiator text (the key of the last row that was taken, NULL for none); rows
--        bigint (how many at most).
-- Gives: period_start, workflow_id, client_id, initiator_type and the figures in the order of
--        analytics.aggregate_metrics.
SELECT
    period_start,
    workflow_id,
    client_id,
    initiator_type,
    total_executions,
    completed_executions,
    failed_executions,
    timed_executions,
    success_rate_pct,
    total_duration_ms,
    average_duration_ms,
    min_duration_ms,
    max_duration_ms,
    median_duration_ms,
    p90_duration_ms,
    p95_duration_ms,
    p99_duration_ms
FROM analytics.aggregate_metrics
WHERE
    organization_id = %(organization_id)s AND period = %(period)s
    AND period_start >= %(since)s AND period_start < %(until)s
    AND CASE WHEN %(workflow_id)s::uuid IS NULL THEN workflow_id <> %(all_workflows)s ELSE workflow_id = %(workflow_id)s END
    AND CASE WHEN %(client_id)s::uuid IS NULL THEN client_id <> %(all_clients)s ELSE client_id = %(client_id)s END
    AND CASE
        WHEN %(initiator_type)s::text IS NULL THEN initiator_type <> %(all_initiators)s
        ELSE initiator_type = %(initiator_type)s
    END
    AND (
        %(after_start)s::timestamptz IS NULL
        OR (period_start, workflow_id, client_id, initiator_type)
        > (%(after_start)s, %(after_workflow)s::uuid, %(after_client)s::uuid, %(after_initiator)s::text)
    )
ORDER BY period_start, workflow_id, client_id, initiator_type
LIMIT %(rows)s

-- name: step_durations
-- How one tenant's steps ended and how long they took over a range, those that took longest together first.
-- Takes: organization_id uuid; workflow_id uuid: one, or the sentinel of all, all_workflows; periods text[], since
--        timestamptz[], until timestamptz[]: the spans; histogram_periods, histogram_since, histogram_until: spans of
--        hours and days whose histograms are added up, or none; the CTEs of estimates in place of {estimates},
--        with what those take.
-- Gives: one row per step: workflow_is_visible (whether the one that is named is the tenant's and in use), step_name,
--        counts, sums, means, extremes, of single cells the exact percentiles; low, high and told_executions, NULL
--        without histograms. Without steps one row, in which step_name is NULL.
WITH asked AS (
    SELECT
        %(workflow_id)s::uuid = %(all_workflows)s OR EXISTS (
            SELECT
            FROM analytics.workflows AS known
            WHERE known.id = %(workflow_id)s AND known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
        ) AS workflow_is_visible
),
mine AS NOT MATERIALIZED (
    SELECT *
    FROM analytics.aggregate_step_metrics
    WHERE organization_id = %(organization_id)s AND workflow_id = %(workflow_id)s
),
sums AS (
    SELECT
        stored.step_name,
        sum(stored.total_executions)::bigint AS total_executions,
        sum(stored.completed_executions)::bigint AS completed_executions,
        sum(stored.warned_executions)::bigint AS warned_executions,
        sum(stored.failed_executions)::bigint AS failed_executions,
        sum(stored.timed_executions)::bigint AS timed_executions,
        sum(stored.total_duration_ms) AS total_duration_ms,
        sum(stored.total_duration_ms) / nullif(sum(stored.timed_executions), 0)::float8 AS average_duration_ms,
        min(stored.min_duration_ms) AS min_duration_ms,
        max(stored.max_duration_ms) AS max_duration_ms,
        min(stored.median_duration_ms) AS median_duration_ms,
        min(stored.p90_duration_ms) AS p90_duration_ms,
        min(stored.p95_duration_ms) AS p95_duration_ms,
        min(stored.p99_duration_ms) AS p99_duration_ms
    FROM unnest(%(periods)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS span (period, since, until)
    INNER JOIN mine AS stored
        ON
            stored.period = span.period
            AND stored.period_start >= span.since AND stored.period_start < span.until
    GROUP BY stored.step_name
),
told AS MATERIALIZED (
    SELECT
        stored.step_name AS key,
        stored.timed_executions, stored.min_duration_ms, stored.max_duration_ms,
        stored.histogram_buckets, stored.histogram_counts
    FROM unnest(%(histogram_periods)s::text[], %(histogram_since)s::timestamptz[], %(histogram_until)s::timestamptz[])
        AS span (period, since, until)
    INNER JOIN mine AS stored
        ON
            stored.period = span.period
            AND stored.period_start >= span.since AND stored.period_start < span.until
),
{estimates}
SELECT asked.workflow_is_visible, sums.*, estimates.low, estimates.high, estimates.told_executions
FROM asked
LEFT JOIN sums ON true
LEFT JOIN estimates ON estimates.key = sums.step_name
ORDER BY sums.total_duration_ms DESC NULLS LAST, sums.step_name

-- name: summed
-- What is stored of one tenant in some spans, added up per key; put in place of {summed}.
-- Takes: the CTEs of estimates in place of {estimates}, with what those take; organization_id uuid; workflow_id, client_id uuid and initiator_type text: one, the sentinel of all, or
--        NULL for each; periods text[], since timestamptz[], until timestamptz[]: the spans; histogram_periods,
--        histogram_since, histogram_until: spans of hours and days whose histograms are added up, or none; shares
--        numeric[]: of the percentiles; all_workflows, all_clients, all_initiators and no_client: the sentinels.
-- Gives: CTEs: asked (one row: workflow_is_visible and client_is_visible, whether the one that is named is the
--        tenant's and in use) and figures (one row per key: counts, sums, means, extremes, of single rows the exact
--        percentiles; low and high, the numbers of the buckets between which each percentile lies, and
--        told_executions, how many jobs these buckets have: NULL without histograms).
asked AS (
    SELECT
        %(workflow_id)s::uuid IS NULL OR %(workflow_id)s::uuid = %(all_workflows)s OR EXISTS (
            SELECT
            FROM analytics.workflows AS known
            WHERE known.id = %(workflow_id)s AND known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
        ) AS workflow_is_visible,
        %(client_id)s::uuid IS NULL OR %(client_id)s::uuid IN (%(all_clients)s, %(no_client)s) OR EXISTS (
            SELECT
            FROM analytics.clients AS known
            WHERE known.id = %(client_id)s AND known.organization_id = %(organization_id)s AND known.deleted_at IS NULL
        ) AS client_is_visible
),
mine AS NOT MATERIALIZED (
    SELECT *
    FROM analytics.aggregate_metrics
    WHERE
        organization_id = %(organization_id)s
        AND CASE WHEN %(workflow_id)s::uuid IS NULL THEN workflow_id <> %(all_workflows)s ELSE workflow_id = %(workflow_id)s END
        AND CASE WHEN %(client_id)s::uuid IS NULL THEN client_id <> %(all_clients)s ELSE client_id = %(client_id)s END
        AND CASE
            WHEN %(initiator_type)s::text IS NULL THEN initiator_type <> %(all_initiators)s
            ELSE initiator_type = %(initiator_type)s
        END
),
sums AS (
    SELECT
        stored.workflow_id, stored.client_id, stored.initiator_type,
        sum(stored.total_executions)::bigint AS total_executions,
        sum(stored.completed_executions)::bigint AS completed_executions,
        sum(stored.failed_executions)::bigint AS failed_executions,
        sum(stored.timed_executions)::bigint AS timed_executions,
        sum(stored.total_duration_ms) / nullif(sum(stored.timed_executions), 0)::float8 AS average_duration_ms,
        min(stored.min_duration_ms) AS min_duration_ms,
        max(stored.max_duration_ms) AS max_duration_ms,
        min(stored.median_duration_ms) AS median_duration_ms,
        min(stored.p90_duration_ms) AS p90_duration_ms,
        min(stored.p95_duration_ms) AS p95_duration_ms,
        min(stored.p99_duration_ms) AS p99_duration_ms
    FROM unnest(%(periods)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS span (period, since, until)
    INNER JOIN mine AS stored
        ON
            stored.period = span.period
            AND stored.period_start >= span.since AND stored.period_start < span.until
    GROUP BY stored.workflow_id, stored.client_id, stored.initiator_type
),
told AS MATERIALIZED (
    SELECT
        stored.workflow_id, stored.client_id, stored.initiator_type,
        -- A small number takes less time to group and sort by than the three.
        dense_rank() OVER (ORDER BY stored.workflow_id, stored.client_id, stored.initiator_type)::integer AS key,
        stored.timed_executions, stored.min_duration_ms, stored.max_duration_ms,
        stored.histogram_buckets, stored.histogram_counts
    FROM unnest(%(histogram_periods)s::text[], %(histogram_since)s::timestamptz[], %(histogram_until)s::timestamptz[])
        AS span (period, since, until)
    INNER JOIN mine AS stored
        ON
            stored.period = span.period
            AND stored.period_start >= span.since AND stored.period_start < span.until
),
{estimates},
-- Joined to what a caller lists, and few rows are expected of it: worked out once all the same. Full joins are never
-- nested loops, which are chosen while nobody has analyzed a table, and take minutes for ten thousand workflows.
figures AS MATERIALIZED (
    SELECT sums.*, estimates.low, estimates.high, estimates.told_executions
    FROM sums
    FULL JOIN (SELECT DISTINCT key, workflow_id, client_id, initiator_type FROM told) AS keys
        ON
            keys.workflow_id = sums.workflow_id AND keys.client_id = sums.client_id
            AND keys.initiator_type = sums.initiator_type
    FULL JOIN estimates ON estimates.key = keys.key
    -- A condition that the planner does not look into, or it would make them left joins again.
    WHERE coalesce(sums.total_executions, 0) > 0
)

-- name: total
-- One tenant's figures over a range, of everything or of one workflow, client and initiator type.
-- Takes: what summed does, which is put in place of {summed}; none of the dimensions is NULL.
-- Gives: one row: the columns of asked, and those of figures, NULL when nothing was counted.
WITH {summed}
SELECT asked.*, figures.*
FROM asked
LEFT JOIN figures ON true

-- name: workflows
-- The workflows of one tenant that are in use.
-- Takes: organization_id uuid.
-- Gives: id, name (may be NULL), by name.
SELECT id, name
FROM analytics.workflows
WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
ORDER BY name, id

-- name: zone_offsets
-- By which clocks one tenant's days, weeks and months begin.
-- Takes: organization_id uuid.
-- Gives: since and offset_s of its zone, in the order of time; no row for UTC.
SELECT rule.since, rule.offset_s
FROM analytics.watermarks AS published
INNER JOIN analytics.time_zone_offsets AS rule ON rule.time_zone = published.time_zone
WHERE published.subject = 'jobs' AND published.organization_id = %(organization_id)s
ORDER BY rule.since
