-- Every figure of every cell of one period, in one pass over the jobs.
-- Takes: the table `chunk` (organization, workflow, client, initiator: whole numbers above 0;
--        period_start; completed boolean; duration_us bigint and duration_bucket smallint, NULL when it
--        is not honest), and in place of {grouping_sets} the rollup plan's combinations of these column
--        names; {buckets} is the list of the timed jobs' duration_bucket, or NULL.
-- Gives: one row per cell; a dimension that is "all" is 0, because GROUPING() says so.
SELECT
    organization,
    period_start,
    CASE WHEN grouping(workflow) = 1 THEN 0 ELSE workflow END AS workflow,
    CASE WHEN grouping(client) = 1 THEN 0 ELSE client END AS client,
    CASE WHEN grouping(initiator) = 1 THEN 0 ELSE initiator END AS initiator,
    count(*) AS total_executions,
    count(*) FILTER (completed) AS completed_executions,
    count(duration_us) AS timed_executions,
    sum(duration_us)::DOUBLE AS total_duration_us,
    min(duration_us) AS min_duration_us,
    max(duration_us) AS max_duration_us,
    quantile_cont(duration_us, {shares}) AS percentiles_us,
    {buckets} AS duration_buckets
FROM chunk
GROUP BY GROUPING SETS ({grouping_sets})
