-- From computed cells to the tables of metrics.

-- name: copy_first
-- Copy cells of organizations without any into their staging table: nobody may copy into a table with
-- row-level security.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY first_cells (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
) FROM STDIN

-- name: copy_staged
-- Copy cells that replace published ones into the staging table.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY staged_cells (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts, reason
) FROM STDIN

-- name: copy_staged_steps
-- Copy cells of steps that replace published ones into the staging table.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY staged_step_cells (
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
) FROM STDIN

-- name: delete_emptied_cells
-- Remove the cells that no job is left in.
-- Takes: the table staged_cells.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_metrics AS stored
USING staged_cells AS staged
WHERE
    staged.total_executions = 0
    AND staged.organization_id = stored.organization_id AND staged.period = stored.period
    AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
    AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type

-- name: delete_emptied_step_cells
-- Remove the cells that no step is left in, unless their month was dropped from the source: those are sealed.
-- Takes: the table staged_step_cells; sealed_before timestamptz, -infinity for nothing.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_step_metrics AS stored
USING staged_step_cells AS staged
WHERE
    staged.total_executions = 0
    AND stored.period_start >= %(sealed_before)s::timestamptz
    AND staged.organization_id = stored.organization_id AND staged.period = stored.period
    AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
    AND staged.step_name = stored.step_name

-- name: empty_first
-- Make room for the next cells of organizations without any.
-- Takes: the table first_cells.
-- Gives: nothing.
TRUNCATE first_cells

-- name: insert_first
-- Write the cells of organizations that have none, in the order in which they were copied: that of their keys.
-- Takes: the table first_cells; computed_at timestamptz, definition_version integer: of every cell.
-- Gives: one row per cell.
INSERT INTO analytics.aggregate_metrics (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts, computed_at, definition_version
)
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts, %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM first_cells

-- name: keep_restatements
-- Keep the figures of cells that change although their period was over when it was last published, or that
-- were not ours, whether it was over or not.
-- Takes: the table staged_cells; run_id uuid; organization_ids uuid[], periods text[] and open_since
--        timestamptz[]: the bucket of each period that was not over yet, for organizations published before.
-- Gives: one row per cell; figures are NULL where there was no cell, or is none any more.
INSERT INTO analytics.restatements AS kept (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    reason, run_id, restated_at, old_computed_at,
    old_total_executions, old_completed_executions, old_failed_executions, old_timed_executions,
    old_success_rate_pct, old_total_duration_ms, old_average_duration_ms, old_min_duration_ms,
    old_max_duration_ms, old_median_duration_ms, old_p90_duration_ms, old_p95_duration_ms,
    old_p99_duration_ms,
    new_total_executions, new_completed_executions, new_failed_executions, new_timed_executions,
    new_success_rate_pct, new_total_duration_ms, new_average_duration_ms, new_min_duration_ms,
    new_max_duration_ms, new_median_duration_ms, new_p90_duration_ms, new_p95_duration_ms,
    new_p99_duration_ms
)
SELECT
    staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type,
    staged.reason, %(run_id)s, now(), stored.computed_at,
    stored.total_executions, stored.completed_executions, stored.failed_executions, stored.timed_executions,
    stored.success_rate_pct, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
    stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
    stored.p99_duration_ms,
    CASE WHEN staged.total_executions > 0 THEN staged.total_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.completed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.failed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.timed_executions END,
    CASE WHEN staged.total_executions > 0 THEN staged.success_rate_pct END,
    CASE WHEN staged.total_executions > 0 THEN staged.total_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.average_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.min_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.max_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.median_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p90_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p95_duration_ms END,
    CASE WHEN staged.total_executions > 0 THEN staged.p99_duration_ms END
FROM staged_cells AS staged
INNER JOIN unnest(%(organization_ids)s::uuid[], %(periods)s::text[], %(open_since)s::timestamptz[])
    AS published (organization_id, period, open_since)
    ON published.organization_id = staged.organization_id AND published.period = staged.period
LEFT JOIN analytics.aggregate_metrics AS stored
    ON
        staged.organization_id = stored.organization_id AND staged.period = stored.period
        AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
        AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
WHERE
    (staged.period_start < published.open_since OR staged.reason = 'drift')
    AND coalesce(stored.total_executions, 0) + staged.total_executions > 0
    AND (
        stored.total_executions, stored.completed_executions, stored.failed_executions,
        stored.timed_executions, stored.success_rate_pct, stored.total_duration_ms,
        stored.average_duration_ms, stored.min_duration_ms, stored.max_duration_ms,
        stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms, stored.p99_duration_ms
    ) IS DISTINCT FROM (
        staged.total_executions, staged.completed_executions, staged.failed_executions,
        staged.timed_executions, staged.success_rate_pct, staged.total_duration_ms,
        staged.average_duration_ms, staged.min_duration_ms, staged.max_duration_ms,
        staged.median_duration_ms, staged.p90_duration_ms, staged.p95_duration_ms, staged.p99_duration_ms
    )
ORDER BY staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type
ON CONFLICT (organization_id, period, period_start, workflow_id, client_id, initiator_type, run_id) DO UPDATE
SET
    new_total_executions = excluded.new_total_executions,
    new_completed_executions = excluded.new_completed_executions,
    new_failed_executions = excluded.new_failed_executions,
    new_timed_executions = excluded.new_timed_executions,
    new_success_rate_pct = excluded.new_success_rate_pct,
    new_total_duration_ms = excluded.new_total_duration_ms,
    new_average_duration_ms = excluded.new_average_duration_ms,
    new_min_duration_ms = excluded.new_min_duration_ms,
    new_max_duration_ms = excluded.new_max_duration_ms,
    new_median_duration_ms = excluded.new_median_duration_ms,
    new_p90_duration_ms = excluded.new_p90_duration_ms,
    new_p95_duration_ms = excluded.new_p95_duration_ms,
    new_p99_duration_ms = excluded.new_p99_duration_ms,
    restated_at = excluded.restated_at

-- name: organizations_with_cells
-- Which of these organizations have any cell.
-- Takes: organization_ids uuid[].
-- Gives: organization_id.
SELECT organization_id
FROM unnest(%(organization_ids)s::uuid[]) AS asked (organization_id)
WHERE EXISTS (
    SELECT FROM analytics.aggregate_metrics AS stored WHERE stored.organization_id = asked.organization_id
)

-- name: proposed_changes
-- Which stored cells the staged ones would change, the largest changes of each organization first; a cell may
-- have been staged more than once.
-- Takes: the table staged_cells; rows integer: how many of each organization.
-- Gives: organization_id, period, period_start, workflow_id, client_id, initiator_type, then the old and the new
--        total_executions, success_rate_pct and median_duration_ms (NULL for no cell), and cells, how many of the
--        organization would change in all.
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    old_total_executions, new_total_executions, old_success_rate_pct, new_success_rate_pct,
    old_median_duration_ms, new_median_duration_ms, cells
FROM (
    SELECT
        staged.organization_id, staged.period, staged.period_start, staged.workflow_id, staged.client_id,
        staged.initiator_type,
        stored.total_executions AS old_total_executions,
        nullif(staged.total_executions, 0) AS new_total_executions,
        stored.success_rate_pct AS old_success_rate_pct,
        CASE WHEN staged.total_executions > 0 THEN staged.success_rate_pct END AS new_success_rate_pct,
        stored.median_duration_ms AS old_median_duration_ms,
        CASE WHEN staged.total_executions > 0 THEN staged.median_duration_ms END AS new_median_duration_ms,
        count(*) OVER (PARTITION BY staged.organization_id) AS cells,
        row_number() OVER (
            PARTITION BY staged.organization_id
            ORDER BY
                abs(staged.total_executions - coalesce(stored.total_executions, 0)) DESC,
                abs(staged.completed_executions - coalesce(stored.completed_executions, 0)) DESC,
                abs(coalesce(staged.median_duration_ms, 0) - coalesce(stored.median_duration_ms, 0)) DESC,
                staged.period, staged.period_start, staged.workflow_id, staged.client_id, staged.initiator_type
        ) AS place
    FROM (
        SELECT DISTINCT ON (organization_id, period, period_start, workflow_id, client_id, initiator_type) *
        FROM staged_cells
    ) AS staged
    LEFT JOIN analytics.aggregate_metrics AS stored
        ON
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
    WHERE
        coalesce(stored.total_executions, 0) + staged.total_executions > 0
        AND (
            stored.total_executions, stored.completed_executions, stored.timed_executions,
            stored.total_duration_ms, stored.min_duration_ms, stored.max_duration_ms,
            stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms, stored.p99_duration_ms
        ) IS DISTINCT FROM (
            staged.total_executions, staged.completed_executions, staged.timed_executions,
            staged.total_duration_ms, staged.min_duration_ms, staged.max_duration_ms,
            staged.median_duration_ms, staged.p90_duration_ms, staged.p95_duration_ms, staged.p99_duration_ms
        )
) AS changed
WHERE place <= %(rows)s
ORDER BY organization_id, place

-- name: remove_old_step_cells
-- Remove the cells of steps that retention keeps no more.
-- Takes: period text, before timestamptz: cells of the period that begin before it go.
-- Gives: one row per cell removed.
DELETE FROM analytics.aggregate_step_metrics
WHERE period = %(period)s AND period_start < %(before)s

-- name: stage
-- Where recomputed cells wait for the upsert; emptied by each commit, and gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_cells; a cell without executions says that no job is left in it, and its
--        reason why it is written anew.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_cells ON COMMIT DELETE ROWS AS
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts,
    NULL::text AS reason
FROM analytics.aggregate_metrics
WITH NO DATA

-- name: stage_first
-- Where cells of organizations without any wait for a moment; gone with the session.
-- Takes: nothing.
-- Gives: the empty table first_cells.
CREATE TEMPORARY TABLE IF NOT EXISTS first_cells ON COMMIT DELETE ROWS AS
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
FROM analytics.aggregate_metrics
WITH NO DATA

-- name: stage_leftover_steps
-- Stage the removal of stored cells of steps that a complete recomputation did not give again.
-- Takes: the table staged_step_cells; organization_ids uuid[] and periods text[]: every cell of these was staged.
-- Gives: one row per cell that is left over.
INSERT INTO staged_step_cells
SELECT
    stored.organization_id, stored.period, stored.period_start, stored.workflow_id, stored.step_name,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL
FROM analytics.aggregate_step_metrics AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[]) AND stored.period = any(%(periods)s::text[])
    AND NOT EXISTS (
        SELECT
        FROM staged_step_cells AS staged
        WHERE
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.step_name = stored.step_name
    )

-- name: stage_leftovers
-- Stage the removal of stored cells that a complete recomputation of their range did not give again.
-- Takes: the table staged_cells; organization_ids uuid[], periods text[], since and until timestamptz (bounds of
--        period_start, -infinity and infinity for none): every cell within was staged; reason text.
-- Gives: one row per cell that is left over.
INSERT INTO staged_cells
SELECT
    stored.organization_id, stored.period, stored.period_start, stored.workflow_id, stored.client_id,
    stored.initiator_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, %(reason)s
FROM analytics.aggregate_metrics AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[]) AND stored.period = any(%(periods)s::text[])
    AND stored.period_start >= %(since)s::timestamptz AND stored.period_start < %(until)s::timestamptz
    AND NOT EXISTS (
        SELECT
        FROM staged_cells AS staged
        WHERE
            staged.organization_id = stored.organization_id AND staged.period = stored.period
            AND staged.period_start = stored.period_start AND staged.workflow_id = stored.workflow_id
            AND staged.client_id = stored.client_id AND staged.initiator_type = stored.initiator_type
    )

-- name: stage_steps
-- Where recomputed cells of steps wait for the upsert; emptied by each commit, and gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_step_cells; a cell without executions says that no step is left in it.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_step_cells ON COMMIT DELETE ROWS AS
SELECT
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts
FROM analytics.aggregate_step_metrics
WITH NO DATA

-- name: upsert_cells
-- Write the staged cells that are new, differ or are of another definition, in key order so that concurrent
-- writers cannot deadlock.
-- Takes: the table staged_cells; computed_at timestamptz, definition_version integer: of every cell.
-- Gives: one row per cell written; identical cells are left alone, and one that only its definition tells
--        apart keeps the time at which it last changed.
INSERT INTO analytics.aggregate_metrics AS stored (
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms,
    max_duration_ms, median_duration_ms, p90_duration_ms, p95_duration_ms,
    p99_duration_ms, histogram_buckets, histogram_counts,
    computed_at, definition_version
)
SELECT
    organization_id, period, period_start, workflow_id, client_id, initiator_type,
    total_executions, completed_executions, failed_executions, timed_executions,
    success_rate_pct, total_duration_ms, average_duration_ms, min_duration_ms,
    max_duration_ms, median_duration_ms, p90_duration_ms, p95_duration_ms,
    p99_duration_ms, histogram_buckets, histogram_counts,
    %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM staged_cells
WHERE total_executions > 0
ORDER BY organization_id, period, period_start, workflow_id, client_id, initiator_type
ON CONFLICT (organization_id, period, period_start, workflow_id, client_id, initiator_type) DO UPDATE
SET
    total_executions = excluded.total_executions,
    completed_executions = excluded.completed_executions,
    failed_executions = excluded.failed_executions,
    timed_executions = excluded.timed_executions,
    success_rate_pct = excluded.success_rate_pct,
    total_duration_ms = excluded.total_duration_ms,
    average_duration_ms = excluded.average_duration_ms,
    min_duration_ms = excluded.min_duration_ms,
    max_duration_ms = excluded.max_duration_ms,
    median_duration_ms = excluded.median_duration_ms,
    p90_duration_ms = excluded.p90_duration_ms,
    p95_duration_ms = excluded.p95_duration_ms,
    p99_duration_ms = excluded.p99_duration_ms,
    histogram_buckets = excluded.histogram_buckets,
    histogram_counts = excluded.histogram_counts,
    computed_at = CASE WHEN (
        stored.total_executions, stored.completed_executions, stored.failed_executions, stored.timed_executions,
        stored.success_rate_pct, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
        stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
        stored.p99_duration_ms
    ) IS DISTINCT FROM (
        excluded.total_executions, excluded.completed_executions, excluded.failed_executions, excluded.timed_executions,
        excluded.success_rate_pct, excluded.total_duration_ms, excluded.average_duration_ms, excluded.min_duration_ms,
        excluded.max_duration_ms, excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms,
        excluded.p99_duration_ms
    ) THEN excluded.computed_at ELSE stored.computed_at END,
    definition_version = excluded.definition_version
WHERE (
    stored.total_executions, stored.completed_executions, stored.failed_executions, stored.timed_executions,
    stored.success_rate_pct, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
    stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
    stored.p99_duration_ms, stored.histogram_buckets, stored.histogram_counts, stored.definition_version
) IS DISTINCT FROM (
    excluded.total_executions, excluded.completed_executions, excluded.failed_executions, excluded.timed_executions,
    excluded.success_rate_pct, excluded.total_duration_ms, excluded.average_duration_ms, excluded.min_duration_ms,
    excluded.max_duration_ms, excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms,
    excluded.p99_duration_ms, excluded.histogram_buckets, excluded.histogram_counts,
    excluded.definition_version
)

-- name: upsert_step_cells
-- Write the staged cells of steps that are new, differ or are of another definition, in key order so that
-- concurrent writers cannot deadlock. A sealed cell, whose month was dropped from the source, loses no step.
-- Takes: the table staged_step_cells; computed_at timestamptz, definition_version integer: of every cell;
--        sealed_before timestamptz, -infinity for nothing.
-- Gives: one row per cell written; identical cells are left alone, and one that only its definition tells
--        apart keeps the time at which it last changed.
INSERT INTO analytics.aggregate_step_metrics AS stored (
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts,
    computed_at, definition_version
)
SELECT
    organization_id, period, period_start, workflow_id, step_name,
    total_executions, completed_executions, warned_executions, failed_executions, timed_executions,
    total_duration_ms, average_duration_ms, min_duration_ms, max_duration_ms,
    median_duration_ms, p90_duration_ms, p95_duration_ms, p99_duration_ms,
    histogram_buckets, histogram_counts,
    %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM staged_step_cells
WHERE total_executions > 0
ORDER BY organization_id, period, period_start, workflow_id, step_name
ON CONFLICT (organization_id, period, period_start, workflow_id, step_name) DO UPDATE
SET
    total_executions = excluded.total_executions,
    completed_executions = excluded.completed_executions,
    warned_executions = excluded.warned_executions,
    failed_executions = excluded.failed_executions,
    timed_executions = excluded.timed_executions,
    total_duration_ms = excluded.total_duration_ms,
    average_duration_ms = excluded.average_duration_ms,
    min_duration_ms = excluded.min_duration_ms,
    max_duration_ms = excluded.max_duration_ms,
    median_duration_ms = excluded.median_duration_ms,
    p90_duration_ms = excluded.p90_duration_ms,
    p95_duration_ms = excluded.p95_duration_ms,
    p99_duration_ms = excluded.p99_duration_ms,
    histogram_buckets = excluded.histogram_buckets,
    histogram_counts = excluded.histogram_counts,
    computed_at = CASE WHEN (
        stored.total_executions, stored.completed_executions, stored.warned_executions, stored.failed_executions,
        stored.timed_executions, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
        stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
        stored.p99_duration_ms
    ) IS DISTINCT FROM (
        excluded.total_executions, excluded.completed_executions, excluded.warned_executions,
        excluded.failed_executions, excluded.timed_executions, excluded.total_duration_ms,
        excluded.average_duration_ms, excluded.min_duration_ms, excluded.max_duration_ms,
        excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms, excluded.p99_duration_ms
    ) THEN excluded.computed_at ELSE stored.computed_at END,
    definition_version = excluded.definition_version
WHERE (
    stored.total_executions, stored.completed_executions, stored.warned_executions, stored.failed_executions,
    stored.timed_executions, stored.total_duration_ms, stored.average_duration_ms, stored.min_duration_ms,
    stored.max_duration_ms, stored.median_duration_ms, stored.p90_duration_ms, stored.p95_duration_ms,
    stored.p99_duration_ms, stored.histogram_buckets, stored.histogram_counts, stored.definition_version
) IS DISTINCT FROM (
    excluded.total_executions, excluded.completed_executions, excluded.warned_executions, excluded.failed_executions,
    excluded.timed_executions, excluded.total_duration_ms, excluded.average_duration_ms, excluded.min_duration_ms,
    excluded.max_duration_ms, excluded.median_duration_ms, excluded.p90_duration_ms, excluded.p95_duration_ms,
    excluded.p99_duration_ms, excluded.histogram_buckets, excluded.histogram_counts, excluded.definition_version
) AND (
    stored.period_start >= %(sealed_before)s::timestamptz OR excluded.total_executions >= stored.total_executions
)
