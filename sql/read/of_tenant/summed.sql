-- What is stored of one tenant in some spans, added up per key; put in place of {summed}.
-- Takes: the CTEs of estimates.sql in place of {estimates}, with what those take; organization_id uuid; workflow_id, client_id uuid and initiator_type text: one, the sentinel of all, or
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
