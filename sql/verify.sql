-- What the source says each cell should be: the oracle of `verify`.

-- name: expected
-- What every cell of these organizations should hold, said as plainly as SQL can.
-- Takes: execmetrics.organizations, a JSON array of {organization_id, extracted_at, time_zone}; execmetrics.started_since
--        and .started_until (bounds of period_start, -infinity and infinity for none); execmetrics.started_own, a JSON
--        array of {organization_id, since, until}: narrower bounds of some; and what the statement in the place
--        {counted} takes. Places of the subject: {grouping_sets} the combinations of columns that are stored;
--        {dimensions} and {aggregates} its columns; {projection} their types.
-- Gives: one row per cell with its key and measures; in place of the histogram the bucket of each row, in order.
WITH organizations AS (
    SELECT o.organization_id, o.extracted_at, o.time_zone
    FROM jsonb_to_recordset(current_setting('execmetrics.organizations')::jsonb)
        AS o (organization_id uuid, extracted_at timestamptz, time_zone text)
),
{counted},
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
        {dimensions},
        {aggregates}
    FROM counted
    GROUP BY GROUPING SETS ({grouping_sets})
)
SELECT organization_id, period, period_start, {projection}
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

-- name: counted_jobs
-- The jobs that count, each with its buckets, dimensions, outcomes and duration; CTEs in the place {counted}.
-- Takes: what `expected` does; execmetrics.earliest (the first believed completion); execmetrics.tolerance (an
--        interval, empty to accept any future).
-- Gives: the CTE counted: organization_id, hour_start, day_start, week_start, month_start, the dimensions, a boolean
--        for each outcome, duration_ms (NULL when it is not valid) and duration_bucket.
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
        j.status::text = 'FAILED' AS failed,
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
)

-- name: counted_steps
-- The steps that count, each with its buckets, dimensions, outcomes and duration; CTEs in the place {counted}.
-- Takes: what `expected` does; execmetrics.earliest (the first believed moment); execmetrics.tolerance (an interval,
--        empty to accept any future).
-- Gives: the CTE counted, as `counted_jobs` does.
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
        l.level::text IN ('TRACE', 'DEBUG', 'INFO') AS completed,
        l.level::text = 'WARN' AS warned,
        l.level::text IN ('ERROR', 'FATAL') AS failed,
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
)
