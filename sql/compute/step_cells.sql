-- Every figure of every cell of steps of one period, in one pass over the steps.
-- Takes: the table `chunk` (organization, workflow, step: whole numbers above 0; period_start; completed and
--        warned, booleans; duration_us bigint and duration_bucket smallint, NULL when it is not honest), and
--        in place of {grouping_sets} the combinations of these column names that are kept; {buckets} is the
--        list of the timed steps' duration_bucket, or NULL.
-- Gives: one row per cell; a workflow that is "all" is 0, because GROUPING() says so.
SELECT
    organization,
    period_start,
    CASE WHEN grouping(workflow) = 1 THEN 0 ELSE workflow END AS workflow,
    step,
    count(*) AS total_executions,
    count(*) FILTER (completed) AS completed_executions,
    count(*) FILTER (warned) AS warned_executions,
    count(duration_us) AS timed_executions,
    sum(duration_us)::DOUBLE AS total_duration_us,
    min(duration_us) AS min_duration_us,
    max(duration_us) AS max_duration_us,
    quantile_cont(duration_us, {shares}) AS percentiles_us,
    {buckets} AS duration_buckets
FROM chunk
GROUP BY GROUPING SETS ({grouping_sets})
