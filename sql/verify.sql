-- Stored cells, and what the source says they should be.

-- name: expected_cells
-- What every cell of these organizations should hold, said as plainly as SQL can: the oracle of `verify`.
-- Takes: execmetrics.organizations, a JSON array of {organization_id, extracted_at, time_zone}; execmetrics.started_since
--        and .started_until (bounds of period_start, -infinity and infinity for none); execmetrics.started_own, a JSON
--        array of {organization_id, since, until}: narrower bounds of some; execmetrics.earliest (the first
--        believed completion); execmetrics.tolerance (an interval, empty to accept any future); in place of
--        {grouping_sets} the rollup plan's combinations of the columns below.
-- Gives: one row per cell with the columns of analytics.aggregate_metrics, without computed_at; in place of the
--        histogram the bucket of each of its jobs, in order.
WITH organizations AS (
    SELECT o.organization_id, o.extracted_at, o.time_zone
    FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb)
        AS o (organization_id uuid, extracted_at timestamptz, time_zone text)
),
counted AS (
    SELECT
        j.organization_id,
        date_trunc('hour', j.completed_at, 'UTC') AS hour_start,
        date_trunc('day', j.completed_at, organizations.time_zone) AS day_start,
        date_trunc('week', j.completed_at, organizations.time_zone) AS week_start,
        date_trunc('month', j.completed_at, organizations.time_zone) AS month_start,
        j.workflow_id,
        coalesce(j.client_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS client_id,
        coalesce(j.initiator_type::text, 'unknown') AS initiator_type,
        j.status::text = 'COMPLETED' AS completed,
        CASE
            WHEN j.completed_at >= j.started_at
                THEN extract(EPOCH FROM j.completed_at - j.started_at) * 1000
        END AS duration_ms,
        CASE
            WHEN j.completed_at = j.started_at THEN -1
            WHEN j.completed_at > j.started_at
                THEN ceil(
                    ln((extract(EPOCH FROM j.completed_at - j.started_at) * 1000000)::double precision)
                    / ln(1.02::double precision)
                )
        END::smallint AS duration_bucket
    FROM orchestration.jobs AS j
    INNER JOIN organizations ON organizations.organization_id = j.organization_id
    LEFT JOIN orchestration.workflows AS w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
    WHERE
        j.status::text IN ('COMPLETED', 'FAILED')
        AND j.deleted_at IS NULL
        AND isfinite(j.started_at) AND isfinite(j.completed_at) AND isfinite(j.created_at) AND isfinite(j.updated_at)
        AND least(j.started_at, j.completed_at, j.created_at, j.updated_at) >= '0001-01-01Z'
        AND greatest(j.started_at, j.completed_at, j.created_at, j.updated_at) < '10000-01-01Z'
        AND j.completed_at >= current_setting('execmetrics.earliest')::timestamptz
        AND (
            current_setting('execmetrics.tolerance') = ''
            OR j.completed_at <= organizations.extracted_at + nullif(current_setting('execmetrics.tolerance'), '')::interval
        )
        AND coalesce(w.organization_id = j.organization_id, true)
        AND coalesce(c.organization_id = j.organization_id, true)
        AND j.organization_id NOT IN ('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        AND j.workflow_id NOT IN ('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        AND coalesce(
            j.client_id NOT IN ('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), true
        )
        AND j.initiator_type::text IS DISTINCT FROM 'all'
        AND coalesce(char_length(j.initiator_type::text) <= 500, true)
        -- A cell that begins before `until` may hold jobs of a whole month after it; where clocks go back to
        -- midnight, a day is named after its first hour.
        AND j.completed_at >= current_setting('execmetrics.started_since')::timestamptz - interval '1 day'
        AND j.completed_at < current_setting('execmetrics.started_until')::timestamptz + interval '32 days'
),
cells AS (
    SELECT
        organization_id,
        CASE
            WHEN grouping(hour_start) = 0 THEN 'hour'
            WHEN grouping(day_start) = 0 THEN 'day'
            WHEN grouping(week_start) = 0 THEN 'week'
            ELSE 'month'
        END AS period,
        coalesce(hour_start, day_start, week_start, month_start) AS period_start,
        CASE WHEN grouping(workflow_id) = 1 THEN '00000000-0000-0000-0000-000000000000' ELSE workflow_id END AS workflow_id,
        CASE WHEN grouping(client_id) = 1 THEN '00000000-0000-0000-0000-000000000000' ELSE client_id END AS client_id,
        CASE WHEN grouping(initiator_type) = 1 THEN 'all' ELSE initiator_type END AS initiator_type,
        count(*) AS total_executions,
        count(*) FILTER (WHERE completed) AS completed_executions,
        count(*) FILTER (WHERE NOT completed) AS failed_executions,
        count(duration_ms) AS timed_executions,
        100.0 * count(*) FILTER (WHERE completed) / count(*) AS success_rate_pct,
        coalesce(sum(duration_ms), 0) AS total_duration_ms,
        avg(duration_ms) AS average_duration_ms,
        min(duration_ms) AS min_duration_ms,
        max(duration_ms) AS max_duration_ms,
        percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms::double precision) AS percentiles,
        CASE
            WHEN grouping(hour_start) = 0 OR grouping(day_start) = 0
                THEN array_agg(duration_bucket ORDER BY duration_bucket) FILTER (WHERE duration_bucket IS NOT NULL)
        END AS duration_buckets
    FROM counted
    GROUP BY GROUPING SETS ({grouping_sets})
)
SELECT
    organization_id,
    period,
    period_start,
    workflow_id,
    client_id,
    initiator_type,
    total_executions,
    completed_executions,
    failed_executions,
    timed_executions,
    success_rate_pct::double precision AS success_rate_pct,
    total_duration_ms::double precision AS total_duration_ms,
    average_duration_ms::double precision AS average_duration_ms,
    min_duration_ms::double precision AS min_duration_ms,
    max_duration_ms::double precision AS max_duration_ms,
    percentiles[1] AS median_duration_ms,
    percentiles[2] AS p90_duration_ms,
    percentiles[3] AS p95_duration_ms,
    percentiles[4] AS p99_duration_ms,
    CASE WHEN period IN ('hour', 'day') AND timed_executions > 2 THEN duration_buckets END AS duration_buckets
FROM cells
WHERE
    period_start >= current_setting('execmetrics.started_since')::timestamptz
    AND period_start < current_setting('execmetrics.started_until')::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(current_setting('execmetrics.started_own')::jsonb)
            AS own (organization_id uuid, since timestamptz, until timestamptz)
        WHERE
            own.organization_id = cells.organization_id
            AND (cells.period_start < own.since OR cells.period_start >= own.until)
    )

-- name: expected_step_cells
-- What every cell of steps of these organizations should hold, said as plainly as SQL can: the oracle of `verify`.
-- Takes: execmetrics.organizations, a JSON array of {organization_id, extracted_at, time_zone}; execmetrics.started_since
--        and .started_until (bounds of period_start, -infinity and infinity for none); execmetrics.started_own, a JSON
--        array of {organization_id, since, until}: narrower bounds of some; execmetrics.earliest (the first
--        believed moment); execmetrics.tolerance (an interval, empty to accept any future).
-- Gives: one row per cell with the columns of analytics.aggregate_step_metrics, without computed_at; in place of
--        the histogram the bucket of each of its steps, in order.
WITH organizations AS (
    SELECT o.organization_id, o.extracted_at, o.time_zone
    FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb)
        AS o (organization_id uuid, extracted_at timestamptz, time_zone text)
),
timed AS (
    SELECT
        l.id,
        round(floor(l.duration_ms * 1000 + 0.5)::numeric) AS us
    FROM orchestration.execution_logs AS l
    INNER JOIN organizations USING (organization_id)
    WHERE floor(l.duration_ms * 1000 + 0.5) >= 0 AND l.duration_ms < 1000000000000000
),
counted AS (
    SELECT
        l.organization_id,
        date_trunc('hour', l.timestamp, 'UTC') AS hour_start,
        date_trunc('day', l.timestamp, organizations.time_zone) AS day_start,
        date_trunc('week', l.timestamp, organizations.time_zone) AS week_start,
        date_trunc('month', l.timestamp, organizations.time_zone) AS month_start,
        j.workflow_id,
        substring(l.step_name::text FROM 1 FOR 200) AS step_name,
        l.level::text AS level,
        timed.us / 1000 AS duration_ms,
        CASE
            WHEN timed.us = 0 THEN -1
            WHEN timed.us > 0 THEN ceil(ln(timed.us::double precision) / ln(1.02::double precision))
        END::smallint AS duration_bucket
    FROM orchestration.execution_logs AS l
    INNER JOIN organizations ON organizations.organization_id = l.organization_id
    INNER JOIN orchestration.jobs AS j ON j.id = l.job_id AND j.organization_id = l.organization_id
    LEFT JOIN timed ON timed.id = l.id
    WHERE
        j.deleted_at IS NULL
        AND length(l.step_name::text) > 0
        AND l.level::text = ANY ('{TRACE,DEBUG,INFO,WARN,ERROR,FATAL}')
        AND isfinite(l.timestamp)
        AND l.timestamp >= '0001-01-01Z' AND l.timestamp < '10000-01-01Z'
        AND l.timestamp >= current_setting('execmetrics.earliest')::timestamptz
        AND (
            current_setting('execmetrics.tolerance') = ''
            OR l.timestamp <= organizations.extracted_at + nullif(current_setting('execmetrics.tolerance'), '')::interval
        )
        AND j.workflow_id NOT IN ('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        -- As for jobs: a cell that begins before `until` may hold steps of a whole month after it.
        AND l.timestamp >= current_setting('execmetrics.started_since')::timestamptz - interval '1 day'
        AND l.timestamp < current_setting('execmetrics.started_until')::timestamptz + interval '32 days'
),
cells AS (
    SELECT
        organization_id,
        CASE
            WHEN grouping(hour_start) = 0 THEN 'hour'
            WHEN grouping(day_start) = 0 THEN 'day'
            WHEN grouping(week_start) = 0 THEN 'week'
            ELSE 'month'
        END AS period,
        coalesce(hour_start, day_start, week_start, month_start) AS period_start,
        CASE WHEN grouping(workflow_id) = 1 THEN '00000000-0000-0000-0000-000000000000' ELSE workflow_id END AS workflow_id,
        step_name,
        count(*) AS total_executions,
        count(*) FILTER (WHERE level IN ('TRACE', 'DEBUG', 'INFO')) AS completed_executions,
        count(*) FILTER (WHERE level = 'WARN') AS warned_executions,
        count(*) FILTER (WHERE level IN ('ERROR', 'FATAL')) AS failed_executions,
        count(duration_ms) AS timed_executions,
        coalesce(sum(duration_ms), 0) AS total_duration_ms,
        avg(duration_ms) AS average_duration_ms,
        min(duration_ms) AS min_duration_ms,
        max(duration_ms) AS max_duration_ms,
        percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms::double precision) AS percentiles,
        CASE
            WHEN grouping(hour_start) = 0 OR grouping(day_start) = 0
                THEN array_agg(duration_bucket ORDER BY duration_bucket) FILTER (WHERE duration_bucket IS NOT NULL)
        END AS duration_buckets
    FROM counted
    GROUP BY
        organization_id,
        step_name,
        GROUPING SETS ((hour_start), (day_start), (week_start), (month_start)),
        GROUPING SETS ((), (workflow_id))
)
SELECT
    organization_id,
    period,
    period_start,
    workflow_id,
    step_name,
    total_executions,
    completed_executions,
    warned_executions,
    failed_executions,
    timed_executions,
    total_duration_ms::double precision AS total_duration_ms,
    average_duration_ms::double precision AS average_duration_ms,
    min_duration_ms::double precision AS min_duration_ms,
    max_duration_ms::double precision AS max_duration_ms,
    percentiles[1] AS median_duration_ms,
    percentiles[2] AS p90_duration_ms,
    percentiles[3] AS p95_duration_ms,
    percentiles[4] AS p99_duration_ms,
    CASE WHEN period IN ('hour', 'day') AND timed_executions > 2 THEN duration_buckets END AS duration_buckets
FROM cells
WHERE
    period_start >= current_setting('execmetrics.started_since')::timestamptz
    AND period_start < current_setting('execmetrics.started_until')::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(current_setting('execmetrics.started_own')::jsonb)
            AS own (organization_id uuid, since timestamptz, until timestamptz)
        WHERE
            own.organization_id = cells.organization_id
            AND (cells.period_start < own.since OR cells.period_start >= own.until)
    )

-- name: stored_cells
-- The stored cells of these organizations.
-- Takes: execmetrics.organizations, .started_since, .started_until and .started_own, as expected_cells does.
-- Gives: one row per cell with the columns of analytics.aggregate_metrics, without computed_at.
SELECT
    organization_id,
    period,
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
    p99_duration_ms,
    histogram_buckets,
    histogram_counts,
    definition_version
FROM analytics.aggregate_metrics
WHERE
    organization_id IN (
        SELECT o.organization_id
        FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb) AS o (organization_id uuid)
    )
    AND period_start >= current_setting('execmetrics.started_since')::timestamptz
    AND period_start < current_setting('execmetrics.started_until')::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(current_setting('execmetrics.started_own')::jsonb)
            AS own (organization_id uuid, since timestamptz, until timestamptz)
        WHERE
            own.organization_id = aggregate_metrics.organization_id
            AND (aggregate_metrics.period_start < own.since OR aggregate_metrics.period_start >= own.until)
    )

-- name: stored_step_cells
-- The stored cells of steps of these organizations.
-- Takes: execmetrics.organizations, .started_since, .started_until and .started_own, as expected_step_cells does.
-- Gives: one row per cell with the columns of analytics.aggregate_step_metrics, without computed_at.
SELECT
    organization_id,
    period,
    period_start,
    workflow_id,
    step_name,
    total_executions,
    completed_executions,
    warned_executions,
    failed_executions,
    timed_executions,
    total_duration_ms,
    average_duration_ms,
    min_duration_ms,
    max_duration_ms,
    median_duration_ms,
    p90_duration_ms,
    p95_duration_ms,
    p99_duration_ms,
    histogram_buckets,
    histogram_counts,
    definition_version
FROM analytics.aggregate_step_metrics
WHERE
    organization_id IN (
        SELECT o.organization_id
        FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb) AS o (organization_id uuid)
    )
    AND period_start >= current_setting('execmetrics.started_since')::timestamptz
    AND period_start < current_setting('execmetrics.started_until')::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(current_setting('execmetrics.started_own')::jsonb)
            AS own (organization_id uuid, since timestamptz, until timestamptz)
        WHERE
            own.organization_id = aggregate_step_metrics.organization_id
            AND (aggregate_step_metrics.period_start < own.since OR aggregate_step_metrics.period_start >= own.until)
    )
