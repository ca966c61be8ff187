-- Questions whose answers say whether the tables can be right, and where organizations stand.

-- name: buckets_that_do_not_add_up
-- In how many buckets the counts of one dimension's rows do not add up to those of the total's row.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text; periods text[]: those that are broken down;
--        definition_version integer: the one that says so. Organizations of another wait to be computed anew.
-- Gives: one row: buckets bigint.
SELECT count(*) AS buckets
FROM (
    SELECT
        sum(total_executions) FILTER (WHERE dimensions = '') AS total,
        sum(total_executions) FILTER (WHERE dimensions = 'workflow') AS total_of_workflows,
        sum(total_executions) FILTER (WHERE dimensions = 'client') AS total_of_clients,
        sum(total_executions) FILTER (WHERE dimensions = 'initiator') AS total_of_initiators,
        sum(completed_executions) FILTER (WHERE dimensions = '') AS completed,
        sum(completed_executions) FILTER (WHERE dimensions = 'workflow') AS completed_of_workflows,
        sum(completed_executions) FILTER (WHERE dimensions = 'client') AS completed_of_clients,
        sum(completed_executions) FILTER (WHERE dimensions = 'initiator') AS completed_of_initiators
    FROM analytics.aggregate_metrics
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN workflow_id = %(all_workflows)s THEN '' ELSE 'workflow' END
            || CASE WHEN client_id = %(all_clients)s THEN '' ELSE 'client' END
            || CASE WHEN initiator_type = %(all_initiators)s THEN '' ELSE 'initiator' END AS dimensions
    ) AS broken_down
    WHERE
        period = any(%(periods)s::text[])
        AND organization_id IN (
            SELECT organization_id
            FROM analytics.completeness
            WHERE definition_version = %(definition_version)s AND rebuilding_version IS NULL
        )
    GROUP BY organization_id, period, period_start
) AS bucket
WHERE
    (total, completed) IS DISTINCT FROM (total_of_workflows, completed_of_workflows)
    OR (total, completed) IS DISTINCT FROM (total_of_clients, completed_of_clients)
    OR (total, completed) IS DISTINCT FROM (total_of_initiators, completed_of_initiators)

-- name: cells_computed_after
-- How many cells were written since somebody last looked.
-- Takes: after timestamptz, NULL for the beginning.
-- Gives: one row: newest timestamptz (when the last cell was written, NULL without cells), cells bigint
--        (those written after it), all_cells bigint.
SELECT
    max(computed_at) AS newest,
    count(*) FILTER (WHERE computed_at > coalesce(%(after)s::timestamptz, '-infinity')) AS cells,
    count(*) AS all_cells
FROM analytics.aggregate_metrics

-- name: count_cells
-- How many cells are stored.
-- Takes: nothing.
-- Gives: one row: cells bigint.
SELECT count(*) AS cells FROM analytics.aggregate_metrics

-- name: count_step_cells
-- How many cells of steps are stored.
-- Takes: nothing.
-- Gives: one row: cells bigint.
SELECT count(*) AS cells FROM analytics.aggregate_step_metrics

-- name: counted_jobs
-- How many jobs are counted, organization by organization: the months' totals hold each once.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: one row per organization: organization_id, jobs bigint.
SELECT organization_id, sum(total_executions)::bigint AS jobs
FROM analytics.aggregate_metrics
WHERE
    period = 'month' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
    AND initiator_type = %(all_initiators)s
GROUP BY organization_id

-- name: jobs_counted_before
-- How many jobs are counted in the days that begin before a moment, organization by organization.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text, before timestamptz.
-- Gives: one row per organization: organization_id, jobs bigint.
SELECT organization_id, sum(total_executions)::bigint AS jobs
FROM analytics.aggregate_metrics
WHERE
    period = 'day' AND workflow_id = %(all_workflows)s AND client_id = %(all_clients)s
    AND initiator_type = %(all_initiators)s AND period_start < %(before)s
GROUP BY organization_id

-- name: lagging_organizations
-- Which organizations are complete no further than so long ago.
-- Takes: lag interval.
-- Gives: organization_id, complete_through timestamptz, furthest behind first.
SELECT completeness.organization_id, completeness.complete_through
FROM analytics.completeness
WHERE completeness.complete_through < now() - %(lag)s::interval
ORDER BY completeness.complete_through, completeness.organization_id

-- name: lagging_steps
-- Whose steps are behind: nobody as long as no steps were ever published.
-- Takes: lag interval.
-- Gives: one row per organization: organization_id, extracted_at (NULL for never).
SELECT
    p.organization_id,
    s.extracted_at
FROM analytics.completeness AS p
LEFT JOIN analytics.step_completeness AS s USING (organization_id)
WHERE
    EXISTS (SELECT FROM analytics.step_completeness)
    AND (s.extracted_at IS NULL OR s.extracted_at < now() - %(lag)s::interval)
ORDER BY p.organization_id

-- name: organization_status
-- Where each organization stands that was ever published, or tried.
-- Takes: all_workflows uuid, all_clients uuid, all_initiators text, withheld text (the class of deletes that are).
-- Gives: organization_id, name, time_zone, complete_through, verified_at, cursor (these four may be NULL), jobs
--        (counted), cells, anomalies (listed rows), failing and steps_failing (what went wrong last with the jobs
--        and with the steps, NULL when nothing did).
SELECT
    organization_id,
    coalesce(names.name, '') AS name,
    completeness.time_zone,
    completeness.complete_through,
    completeness.verified_at,
    cursors.horizon AS cursor,
    coalesce(stored.jobs, 0)::bigint AS jobs,
    coalesce(stored.cells, 0) AS cells,
    coalesce(listed.anomalies, 0) AS anomalies,
    coalesce(newest.of_jobs, CASE WHEN completeness.withheld_at IS NOT NULL THEN %(withheld)s END) AS failing,
    coalesce(newest.of_steps, CASE WHEN steps.withheld_at IS NOT NULL THEN %(withheld)s END) AS steps_failing
FROM analytics.completeness
FULL JOIN (
    SELECT
        organization_id,
        max(error_class) FILTER (WHERE subject = 'jobs') AS of_jobs,
        max(error_class) FILTER (WHERE subject = 'steps') AS of_steps
    FROM (
        SELECT DISTINCT ON (organization_id, subject) organization_id, subject, error_class
        FROM analytics.refresh_outcomes
        ORDER BY organization_id, subject, finished_at DESC
    ) AS newest_of_each
    GROUP BY organization_id
) AS newest USING (organization_id)
LEFT JOIN analytics.step_completeness AS steps USING (organization_id)
LEFT JOIN analytics.extraction_cursors AS cursors USING (organization_id)
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
-- Whose jobs, or steps, failed when they were last tried, by whichever run.
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
-- Whose jobs or steps failed when they were last tried, or have deletes that are withheld since a digest.
-- Takes: withheld text: the class of the latter.
-- Gives: organization_id, subject (jobs or steps), error_class, failing_since timestamptz (the first failure after
--        the last success).
WITH failing AS (
    SELECT newest.organization_id, newest.subject, newest.error_class, streak.failing_since
    FROM (
        SELECT DISTINCT ON (organization_id, subject) organization_id, subject, error_class
        FROM analytics.refresh_outcomes
        ORDER BY organization_id, subject, finished_at DESC
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT min(finished_at) AS failing_since
        FROM analytics.refresh_outcomes AS failed
        WHERE
            failed.organization_id = newest.organization_id AND failed.subject = newest.subject
            AND failed.error_class IS NOT NULL
            AND failed.finished_at > coalesce(
                (
                    SELECT max(finished_at)
                    FROM analytics.refresh_outcomes AS published
                    WHERE
                        published.organization_id = newest.organization_id AND published.subject = newest.subject
                        AND published.error_class IS NULL
                ),
                '-infinity'
            )
    ) AS streak
    WHERE newest.error_class IS NOT NULL
),
withheld AS (
    SELECT organization_id, 'jobs' AS subject, withheld_at
    FROM analytics.completeness
    WHERE withheld_at IS NOT NULL
    UNION ALL
    SELECT organization_id, 'steps' AS subject, withheld_at
    FROM analytics.step_completeness
    WHERE withheld_at IS NOT NULL
)

SELECT
    organization_id,
    subject,
    coalesce(failing.error_class, %(withheld)s) AS error_class,
    -- A refresh between two digests forgives nothing.
    CASE
        WHEN coalesce(failing.error_class, %(withheld)s) = %(withheld)s
            THEN least(withheld.withheld_at, failing.failing_since)
        ELSE failing.failing_since
    END AS failing_since
FROM failing
FULL JOIN withheld USING (organization_id, subject)
ORDER BY failing_since, organization_id, subject
