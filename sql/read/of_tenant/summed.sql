-- What is stored of one tenant in some spans, added up per key; put in place of {summed}.
-- Takes: organization_id uuid; workflow_id, client_id uuid and initiator_type text: one, the sentinel of all, or
--        NULL for each; periods text[], since timestamptz[], until timestamptz[]: the spans; histogram_periods,
--        histogram_since, histogram_until: spans of hours and days whose histograms are added up, or none.
-- Gives: CTEs: sums (one row per key: counts, sums, extremes, and of single rows the exact percentiles) and
--        estimates (per key the numbers of the buckets between which each percentile lies).
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
        sum(stored.total_duration_ms) AS total_duration_ms,
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
buckets AS (
    SELECT stored.workflow_id, stored.client_id, stored.initiator_type, bucket.number, sum(bucket.jobs)::bigint AS jobs
    FROM unnest(%(histogram_periods)s::text[], %(histogram_since)s::timestamptz[], %(histogram_until)s::timestamptz[])
        AS span (period, since, until)
    INNER JOIN mine AS stored
        ON
            stored.period = span.period
            AND stored.period_start >= span.since AND stored.period_start < span.until
    CROSS JOIN LATERAL (
        SELECT number, jobs
        FROM unnest(stored.histogram_buckets, stored.histogram_counts) AS kept (number, jobs)
        UNION ALL
        -- One or two jobs are told by the shortest and the longest.
        SELECT
            CASE
                WHEN extreme.ms = 0 THEN -1
                ELSE ceil(ln(round(extreme.ms * 1000)) / ln(1.02::double precision))::smallint
            END,
            1
        FROM (VALUES (stored.min_duration_ms, 1), (stored.max_duration_ms, 2)) AS extreme (ms, timed)
        WHERE stored.timed_executions BETWEEN extreme.timed AND 2
    ) AS bucket
    GROUP BY stored.workflow_id, stored.client_id, stored.initiator_type, bucket.number
),
ranked AS (
    SELECT
        workflow_id, client_id, initiator_type, number,
        sum(jobs) OVER (PARTITION BY workflow_id, client_id, initiator_type ORDER BY number) AS up_to,
        sum(jobs) OVER (PARTITION BY workflow_id, client_id, initiator_type) - 1 AS last_rank
    FROM buckets
),
estimates AS (
    SELECT
        workflow_id, client_id, initiator_type,
        array_agg(low ORDER BY share) AS low, array_agg(high ORDER BY share) AS high
    FROM (
        SELECT
            ranked.workflow_id, ranked.client_id, ranked.initiator_type, asked.share,
            min(ranked.number) FILTER (WHERE ranked.up_to > floor(asked.share * ranked.last_rank)) AS low,
            min(ranked.number) FILTER (WHERE ranked.up_to > ceil(asked.share * ranked.last_rank)) AS high
        FROM ranked
        CROSS JOIN unnest(%(shares)s::numeric[]) AS asked (share)
        GROUP BY ranked.workflow_id, ranked.client_id, ranked.initiator_type, asked.share
    ) AS found
    GROUP BY workflow_id, client_id, initiator_type
)
