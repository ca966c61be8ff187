-- Cells from numbered rows, in DuckDB.

-- name: cells
-- Every figure of every cell, in one pass over the jobs.
-- Takes: `chunk` (organization, workflow, client, initiator: whole numbers above 0; period and period_start
--        of a bucket that the job is in; completed boolean; duration_us bigint, NULL when it is not honest;
--        duration_bucket smallint, NULL also in a period without histograms), and `masks` (period; workflow,
--        client, initiator: is a cell broken down by it), which holds the rollup plan's combinations.
-- Gives: one row per cell; a dimension that is "all" is 0. Of few groups or many, this plan is as fast as
--        GROUPING SETS, and it is made in a tenth of the time.
SELECT
    organization,
    chunk.period AS period,
    period_start,
    chunk.workflow * masks.workflow AS workflow,
    chunk.client * masks.client AS client,
    chunk.initiator * masks.initiator AS initiator,
    count(*) AS total_executions,
    count(*) FILTER (completed) AS completed_executions,
    count(duration_us) AS timed_executions,
    sum(duration_us)::DOUBLE AS total_duration_us,
    min(duration_us) AS min_duration_us,
    max(duration_us) AS max_duration_us,
    quantile_cont(duration_us, {shares}) AS percentiles_us,
    CASE WHEN count(duration_us) > {told_by_extremes}
        THEN list_sort(list(duration_bucket) FILTER (duration_bucket IS NOT NULL)) END AS duration_buckets
FROM chunk
JOIN masks ON masks.period = chunk.period
GROUP BY 1, 2, 3, 4, 5, 6

-- name: step_cells
-- Every figure of every cell of steps, in one pass over the steps.
-- Takes: `chunk` (organization, workflow, step: whole numbers above 0; period and period_start of a bucket
--        that the step is in; completed and warned, booleans; duration_us bigint, NULL when it is not honest;
--        duration_bucket smallint, NULL also in a period without histograms), and `masks` (period; workflow,
--        step: is a cell broken down by it), which holds the combinations that are kept.
-- Gives: one row per cell; a workflow that is "all" is 0.
SELECT
    organization,
    chunk.period AS period,
    period_start,
    chunk.workflow * masks.workflow AS workflow,
    chunk.step * masks.step AS step,
    count(*) AS total_executions,
    count(*) FILTER (completed) AS completed_executions,
    count(*) FILTER (warned) AS warned_executions,
    count(duration_us) AS timed_executions,
    sum(duration_us)::DOUBLE AS total_duration_us,
    min(duration_us) AS min_duration_us,
    max(duration_us) AS max_duration_us,
    quantile_cont(duration_us, {shares}) AS percentiles_us,
    CASE WHEN count(duration_us) > {told_by_extremes}
        THEN list_sort(list(duration_bucket) FILTER (duration_bucket IS NOT NULL)) END AS duration_buckets
FROM chunk
JOIN masks ON masks.period = chunk.period
GROUP BY 1, 2, 3, 4, 5
