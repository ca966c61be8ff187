-- How one tenant's steps ended and how long they took over a range, those that took longest together first.
-- Takes: organization_id uuid; workflow_id uuid: one, or the sentinel of all, all_workflows; periods text[], since
--        timestamptz[], until timestamptz[]: the spans; histogram_periods, histogram_since, histogram_until: spans of
--        hours and days whose histograms are added up, or none; the CTEs of estimates.sql in place of {estimates},
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
