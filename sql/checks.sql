-- Questions whose answers say whether the tables can be right, and where organizations stand.

-- name: buckets_that_do_not_add_up
-- In how many buckets the counts of one dimension's rows do not add up to those of the total's row.
-- Takes: periods text[]: those that are broken down by each dimension; definition_version integer: the one that says
--        so. Organizations of another wait to be computed anew. Places: {table}, {broken_down_by} (the dimensions of a
--        row, as text), {additive} (the counts that are compared, of one dimension) and {subject}.
-- Gives: one row: buckets bigint.
SELECT count(*) AS buckets
FROM (
    SELECT organization_id, period, period_start
    FROM (
        SELECT organization_id, period, period_start, {broken_down_by} AS dimensions, {sums}
        FROM {table} AS cells
        WHERE
            period = any(%(periods)s::text[])
            AND organization_id IN (
                SELECT organization_id
                FROM analytics.watermarks
                WHERE
                    subject = %(subject)s
                    AND definition_version = %(definition_version)s AND rebuilding_version IS NULL
            )
        GROUP BY organization_id, period, period_start, dimensions
    ) AS summed
    WHERE dimensions = any(%(dimensions)s::text[])
    GROUP BY organization_id, period, period_start
    HAVING count(*) <> cardinality(%(dimensions)s::text[]) OR count(DISTINCT ({counts})) <> 1
) AS buckets

-- name: cells_computed_after
-- How many cells were written since the last look.
-- Takes: after timestamptz, NULL for the beginning.
-- Gives: one row: newest timestamptz (when the last cell was written, NULL without cells), cells bigint
--        (those written after it), all_cells bigint.
SELECT
    max(computed_at) AS newest,
    count(*) FILTER (WHERE computed_at > coalesce(%(after)s::timestamptz, '-infinity')) AS cells,
    count(*) AS all_cells
FROM analytics.aggregate_metrics

-- name: lagging_organizations
-- Which organizations are complete no further than so long ago; of a subject that was never published, none.
-- Takes: subject text, lag interval.
-- Gives: organization_id, complete_through timestamptz (NULL for never), furthest behind first.
SELECT jobs.organization_id, published.complete_through
FROM analytics.watermarks AS jobs
LEFT JOIN analytics.watermarks AS published
    ON published.subject = %(subject)s AND published.organization_id = jobs.organization_id
WHERE
    jobs.subject = 'jobs'
    AND EXISTS (SELECT FROM analytics.watermarks AS any_of WHERE any_of.subject = %(subject)s)
    AND coalesce(published.complete_through, '-infinity') < now() - %(lag)s::interval
ORDER BY published.complete_through NULLS FIRST, jobs.organization_id

-- name: organization_status
-- Where each organization stands that was ever published, or tried.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text, guarded text (the class of guarded deletes).
-- Gives: organization_id, name, time_zone, complete_through, verified_at, cursor (these four may be NULL), jobs
--        (counted), cells, anomalies (listed rows), failing and steps_failing (what went wrong last with the jobs
--        and with the steps, NULL when nothing did).
SELECT
    organization_id, coalesce(names.name, '') AS name, published.time_zone, published.complete_through,
    published.verified_at, (published.checkpoint ->> 'horizon')::bigint AS cursor, coalesce(stored.jobs, 0)::bigint AS jobs,
    coalesce(stored.cells, 0) AS cells, coalesce(listed.anomalies, 0) AS anomalies, tried.failing, tried.steps_failing
FROM (
    SELECT
        organization_id,
        max(error_class) FILTER (WHERE subject = 'jobs') AS failing,
        max(error_class) FILTER (WHERE subject = 'steps') AS steps_failing
    FROM (
        SELECT DISTINCT ON (organization_id, subject)
            organization_id, subject,
            coalesce(error_class, CASE WHEN guarded_at IS NOT NULL THEN %(guarded)s END) AS error_class
        FROM analytics.refresh_outcomes
        FULL JOIN analytics.watermarks USING (organization_id, subject)
        ORDER BY organization_id, subject, finished_at DESC
    ) AS newest
    GROUP BY organization_id
) AS tried
LEFT JOIN (SELECT * FROM analytics.watermarks WHERE subject = 'jobs') AS published USING (organization_id)
LEFT JOIN analytics.organizations AS names ON names.id = organization_id
LEFT JOIN (
    SELECT
        organization_id,
        count(*) AS cells,
        -- The months' totals count every job once.
        sum(total_executions) FILTER (
            WHERE period = 'month' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
            AND initiator_type = %(all_initiators)s
        ) AS jobs
    FROM analytics.aggregate_metrics
    GROUP BY organization_id
) AS stored USING (organization_id)
LEFT JOIN (
    SELECT organization_id, count(*) AS anomalies FROM analytics.job_anomalies GROUP BY organization_id
) AS listed USING (organization_id)
ORDER BY jobs DESC, organization_id

-- name: organizations_left_behind
-- Which organizations failed when a subject was last tried, by whichever run.
-- Takes: subject text: jobs or steps.
-- Gives: organization_id, error_class.
SELECT organization_id, error_class
FROM (
    SELECT DISTINCT ON (organization_id) organization_id, error_class
    FROM analytics.refresh_outcomes
    WHERE subject = %(subject)s
    ORDER BY organization_id, finished_at DESC
) AS newest
WHERE error_class IS NOT NULL
ORDER BY organization_id

-- name: standing_failures
-- Which organizations failed when they were last tried, or have guarded deletes.
-- Takes: guarded text: the class of guarded deletes.
-- Gives: organization_id, subject (jobs or steps), error_class, failing_since timestamptz (the first failure after
--        the last success).
SELECT
    organization_id,
    subject,
    coalesce(failing.error_class, %(guarded)s) AS error_class,
    -- A refresh between two comparisons forgives nothing.
    CASE
        WHEN coalesce(failing.error_class, %(guarded)s) = %(guarded)s
            THEN least(guarded.guarded_at, failing.failing_since)
        ELSE failing.failing_since
    END AS failing_since
FROM (
    SELECT
        organization_id, subject, min(finished_at) AS failing_since,
        (array_agg(error_class ORDER BY finished_at DESC))[1] AS error_class
    FROM (
        SELECT
            *, max(finished_at) FILTER (WHERE error_class IS NULL) OVER (PARTITION BY organization_id, subject) AS published_at
        FROM analytics.refresh_outcomes
    ) AS outcomes
    WHERE finished_at > coalesce(published_at, '-infinity')
    GROUP BY organization_id, subject
) AS failing
FULL JOIN (SELECT * FROM analytics.watermarks WHERE guarded_at IS NOT NULL) AS guarded USING (organization_id, subject)
ORDER BY failing_since, organization_id, subject
