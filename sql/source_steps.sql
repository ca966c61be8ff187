-- Steps in the logs of the source.

-- name: dropped_months
-- Until when months of logs were dropped, so that their steps are gone from the source for good.
-- Takes: nothing; the source has the table.
-- Gives: one row: sealed_before timestamptz, NULL when none was dropped.
SELECT max(month_end) AS sealed_before
FROM orchestration.execution_log_months
WHERE dropped_at IS NOT NULL

-- name: has_months
-- Whether the source keeps a record of dropped months of logs that this role may read.
-- Takes: nothing.
-- Gives: one row: has_months boolean.
SELECT coalesce(has_column_privilege(to_regclass('orchestration.execution_log_months'), 'dropped_at', 'SELECT'), false)
    AS has_months

-- name: selected_ended_on
-- The end of steps that asks for every line of some organizations' UTC days.
-- Takes: execmetrics.organization_ids uuid[] and, pairwise, execmetrics.days date[].
-- Gives: a line l that its organization wrote on such a day.
WHERE
    -- From the first day to the last, so that partitions are left out.
    l.timestamp >= (
        SELECT min(asked.day)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    AND l.timestamp < (
        SELECT (max(asked.day) + 1)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    -- IS TRUE keeps it a look into a hash table, as in selected_created_on.
    AND (
        (l.organization_id, (l.timestamp AT TIME ZONE 'UTC')::date) IN (
            SELECT
                asked.organization_id,
                asked.day
            FROM
                unnest(
                    current_setting('execmetrics.organization_ids')::uuid[],
                    current_setting('execmetrics.days')::date[]
                ) AS asked (organization_id, day)
        )
    ) IS TRUE

-- name: selected_listed
-- The end of steps that asks for lines by their ids.
-- Takes: execmetrics.log_ids uuid[], not too many at once.
-- Gives: a line l with such an id, found by the primary key of each partition.
WHERE l.id IN (SELECT unnest(current_setting('execmetrics.log_ids')::uuid[]))

-- name: selected_of_changed_jobs
-- The end of steps that asks for older lines of jobs that were written since the cursor of their
-- organization: they may be deleted by now, or of another workflow.
-- Takes: execmetrics.cursors, as selected_written does; whoever has no horizon is read whole by that.
-- Gives: a line l, written before the horizon, of a job whose xmin is at or past the least of all horizons.
INNER JOIN (
    SELECT
        known.organization_id,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (organization_id uuid, horizon bigint)
) AS cursors ON cursors.organization_id = l.organization_id
WHERE
    l.job_id IN (
        SELECT changed.id
        FROM orchestration.jobs AS changed
        WHERE
            age(changed.xmin) <= (
                SELECT max(age((known.horizon & 4294967295)::text::xid))
                FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
            )
    )
    AND age(l.xmin) > cursors.oldest

-- name: selected_written
-- The end of steps that asks for lines written since their organization's cursor, and for those whose time
-- has come since.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon, due_since}; a horizon of null means every
--        line, and nobody who is not listed is read. execmetrics.latest (timestamptz).
-- Gives: a line l whose xmin is at or past the horizon, on the circle of 32-bit transaction ids, or that was of
--        a future not believed until now.
INNER JOIN (
    SELECT
        known.organization_id,
        known.due_since,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
        AS known (organization_id uuid, horizon bigint, due_since timestamptz)
) AS cursors ON cursors.organization_id = l.organization_id
WHERE
    cursors.oldest IS NULL
    OR age(l.xmin) <= cursors.oldest
    OR (l.timestamp > cursors.due_since AND l.timestamp <= (SELECT current_setting('execmetrics.latest')::timestamptz))

-- name: step_counts
-- Whether a line is a step that counts: the expression that reads and digests share.
-- Takes: a line l and its job j, NULL where there is none; the first and the last moment believed,
--        execmetrics.earliest and .latest (timestamptz); execmetrics.reserved_ids uuid[].
-- Gives: a boolean, or NULL for no.
(
    l.step_name::text <> ''
    AND l.level::text IN ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL')
    AND j.organization_id = l.organization_id
    AND j.deleted_at IS NULL
    AND j.workflow_id <> ALL ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])
    AND l.timestamp >= greatest((SELECT current_setting('execmetrics.earliest')::timestamptz), '0001-01-01Z')
    AND l.timestamp <= (SELECT current_setting('execmetrics.latest')::timestamptz)
    AND l.timestamp < '10000-01-01Z'
)

-- name: step_digest
-- How many steps count, and what they are, in three numbers per organization and UTC day on which they ended.
-- Takes: the expressions step_counts and step_hash, in their places, with what those take;
--        execmetrics.scope, `all` or `listed`, and execmetrics.organization_ids uuid[], who is listed; the first moment and the moment past the last,
--        execmetrics.steps_since and .steps_until (timestamptz, -infinity and infinity for none).
-- Gives: one row per organization and day with steps that count: organization_id, completed_date, jobs (how many
--        steps), and the sums of the lower and the upper 32 bits of their hashes, low and high.
SELECT
    counted.organization_id,
    counted.completed_date,
    count(*) AS jobs,
    sum(counted.row_hash & 4294967295)::bigint AS low,
    sum(counted.row_hash >> 32)::bigint AS high
FROM (
    SELECT
        l.organization_id,
        (l.timestamp AT TIME ZONE 'UTC')::date AS completed_date,
        {row_hash} AS row_hash
    FROM orchestration.execution_logs AS l
    INNER JOIN orchestration.jobs AS j ON j.id = l.job_id
    WHERE
        (
            (SELECT current_setting('execmetrics.scope') = 'all')
            OR l.organization_id = ANY (current_setting('execmetrics.organization_ids')::uuid[])
        )
        AND l.timestamp >= current_setting('execmetrics.steps_since')::timestamptz
        AND l.timestamp < current_setting('execmetrics.steps_until')::timestamptz
        AND {counts}
    -- Kept apart: the planner would compute each hash anew for either sum.
    OFFSET 0
) AS counted
GROUP BY counted.organization_id, counted.completed_date

-- name: step_hash
-- Everything about a step that can move a figure, as one number: the expression that reads and digests share.
-- Takes: a line l and its job j, NULL where there is none.
-- Gives: a bigint.
hash_record_extended(
    ROW (
        l.organization_id, l.job_id, j.workflow_id, left(l.step_name::text, 200), l.level::text, l.timestamp,
        l.duration_ms::double precision, j.deleted_at IS NULL, j.organization_id
    ),
    0
)

-- name: step_source
-- Which table of logs the source has, and whether this role may read what steps need of it.
-- Takes: execmetrics.step_columns text[], the columns that are needed.
-- Gives: one row: log_table bigint, its oid, NULL when there is none or a column is absent or forbidden.
SELECT
    (
        SELECT t.oid::bigint
        FROM pg_class AS t
        WHERE
            t.oid = to_regclass('orchestration.execution_logs')
            AND has_schema_privilege(t.relnamespace, 'USAGE')
            AND NOT EXISTS (
                SELECT
                FROM unnest(current_setting('execmetrics.step_columns')::text[]) AS wanted (name)
                LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = wanted.name AND NOT c.attisdropped
                WHERE c.attnum IS NULL OR NOT has_column_privilege(t.oid, c.attnum, 'SELECT')
            )
    ) AS log_table

-- name: steps
-- Lines of logs as steps are judged and kept: one statement for all organizations, ended by what is asked for.
-- Takes: the expressions step_counts and step_hash and one of selected_*, in their places, with
--        what those take.
-- Gives: one row per line, contract columns only; no message, no metadata. A time that other programs cannot
--        hold (infinite, or outside years 1-9999) is NULL, and so is a duration of more than 30,000 years.
SELECT
    l.id AS log_id,
    l.organization_id,
    l.job_id,
    j.workflow_id,
    left(l.step_name::text, 200) AS step_name,
    l.level::text AS level,
    CASE WHEN l.timestamp >= '0001-01-01Z' AND l.timestamp < '10000-01-01Z' THEN l.timestamp END AS completed_at,
    CASE WHEN abs(l.duration_ms) < 1e15 THEN floor(l.duration_ms * 1000 + 0.5)::bigint END AS duration_us,
    {row_hash} AS row_hash,
    coalesce({counts}, false) AS counts
FROM orchestration.execution_logs AS l
LEFT JOIN orchestration.jobs AS j ON j.id = l.job_id
{asked}
