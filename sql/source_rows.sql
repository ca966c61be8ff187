-- Rows of the source as facts are made of them: a statement for each subject but jobs, ended by what is selected. In all
-- of them `r` is the row whose version tells whether it changed, and `j` its job. Places: {key} and {time} of the
-- subject's declaration, and {row}, which is `r`; it is `j` where jobs are asked for by days or by ids.

-- name: steps
-- Lines of logs as steps are judged and kept.
-- Takes: execmetrics.earliest and .latest (timestamptz, the first and the last moment believed), .reserved_ids uuid[];
--        in the place {selected} one of the statements below, with what that one takes.
-- Gives: one row per line, contract columns only; no message, no metadata. A time that other programs cannot
--        hold (infinite, or outside years 1-9999) is NULL, and so is a duration of more than 30,000 years. row_hash
--        covers everything about a step that can move a figure; counts says whether it belongs in the facts.
SELECT
    r.id AS log_id,
    r.organization_id,
    r.job_id,
    j.workflow_id,
    left(r.step_name::text, 200) AS step_name,
    r.level::text AS level,
    CASE WHEN r.timestamp >= '0001-01-01Z' AND r.timestamp < '10000-01-01Z' THEN r.timestamp END AS completed_at,
    CASE WHEN abs(r.duration_ms) < 1e15 THEN floor(r.duration_ms * 1000 + 0.5)::bigint END AS duration_us,
    hash_record_extended(
        ROW (
            r.organization_id, r.job_id, j.workflow_id, left(r.step_name::text, 200), r.level::text, r.timestamp,
            r.duration_ms::double precision, j.deleted_at IS NULL, j.organization_id
        ),
        0
    ) AS row_hash,
    coalesce(
        r.step_name::text <> ''
        AND r.level::text IN ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL')
        AND j.organization_id = r.organization_id
        AND j.deleted_at IS NULL
        AND j.workflow_id <> ALL ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])
        AND r.timestamp >= greatest((SELECT current_setting('execmetrics.earliest')::timestamptz), '0001-01-01Z')
        AND r.timestamp <= (SELECT current_setting('execmetrics.latest')::timestamptz)
        AND r.timestamp < '10000-01-01Z',
        false
    ) AS counts
FROM orchestration.execution_logs AS r
LEFT JOIN orchestration.jobs AS j ON j.id = r.job_id
{selected}

-- name: selected_written
-- Selects rows written since their organization's checkpoint, and those whose time has come since.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon, due_since}; a horizon of null means every
--        row, and an organization that is not listed is not read. execmetrics.latest (timestamptz).
-- Gives: a row r whose xmin is at or past the horizon, on the circle of 32-bit transaction ids, or that was of
--        a future not believed until now.
INNER JOIN (
    SELECT
        known.organization_id,
        known.due_since,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
        AS known (organization_id uuid, horizon bigint, due_since timestamptz)
) AS cursors ON cursors.organization_id = r.organization_id
WHERE
    cursors.oldest IS NULL
    OR age(r.xmin) <= cursors.oldest
    OR (r.{time} > cursors.due_since AND r.{time} <= (SELECT current_setting('execmetrics.latest')::timestamptz))

-- name: selected_of_changed_jobs
-- Selects older rows of jobs that were written since the checkpoint of their organization: they may be deleted by now,
-- or of another workflow.
-- Takes: execmetrics.cursors, as selected_written does; an organization without a horizon is read whole by that.
-- Gives: a row r, written before the horizon, of a job whose xmin is at or past the least of all horizons.
INNER JOIN (
    SELECT
        known.organization_id,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (organization_id uuid, horizon bigint)
) AS cursors ON cursors.organization_id = r.organization_id
WHERE
    r.job_id IN (
        SELECT changed.id
        FROM orchestration.jobs AS changed
        WHERE
            age(changed.xmin) <= (
                SELECT max(age((known.horizon & 4294967295)::text::xid))
                FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS known (horizon bigint)
            )
    )
    AND age(r.xmin) > cursors.oldest

-- name: selected_on_days
-- Selects every row of some organizations' UTC days.
-- Takes: execmetrics.organization_ids uuid[] and, pairwise, execmetrics.days date[].
-- Gives: a {row} of its organization on such a day.
WHERE
    -- From the first day to the last, so that partitions are left out and an index is used, where there is one.
    {row}.{time} >= (
        SELECT min(asked.day)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    AND {row}.{time} < (
        SELECT (max(asked.day) + 1)::timestamp AT TIME ZONE 'UTC'
        FROM unnest(current_setting('execmetrics.days')::date[]) AS asked (day)
    )
    -- IS TRUE keeps it a look into a hash table: as a join it would read an organization once for each day.
    AND (
        ({row}.organization_id, ({row}.{time} AT TIME ZONE 'UTC')::date) IN (
            SELECT asked.organization_id, asked.day
            FROM
                unnest(
                    current_setting('execmetrics.organization_ids')::uuid[],
                    current_setting('execmetrics.days')::date[]
                ) AS asked (organization_id, day)
        )
    ) IS TRUE

-- name: selected_listed
-- Selects rows by their ids.
-- Takes: execmetrics.ids uuid[], not too many at once.
-- Gives: a {row} with such an id, found by the primary key.
WHERE {row}.{key} IN (SELECT unnest(current_setting('execmetrics.ids')::uuid[]))

-- name: selected_between
-- Selects the rows of some organizations, or of all, in a range of time.
-- Takes: execmetrics.scope, `all` or `listed`, and execmetrics.organization_ids uuid[], which are listed; the first moment
--        and the moment past the last, execmetrics.rows_since and .rows_until (timestamptz, -infinity and infinity
--        for none).
-- Gives: a row r of theirs within.
WHERE
    (
        (SELECT current_setting('execmetrics.scope') = 'all')
        OR r.organization_id = ANY (current_setting('execmetrics.organization_ids')::uuid[])
    )
    AND r.{time} >= current_setting('execmetrics.rows_since')::timestamptz
    AND r.{time} < current_setting('execmetrics.rows_until')::timestamptz

-- name: checksums
-- How many rows count, and what they are, in three numbers per organization and UTC day.
-- Takes: the statement of a subject in the place {rows}, with what it takes; {partition_column}, what a day is called.
-- Gives: one row per organization and day with rows that count: organization_id, the day, rows, and the sums of the lower
--        and the upper 32 bits of their hashes, low and high, which fit into a bigint.
SELECT
    counted.organization_id,
    counted.{partition_column},
    count(*) AS rows,
    sum(counted.row_hash & 4294967295)::bigint AS low,
    sum(counted.row_hash >> 32)::bigint AS high
FROM (
    SELECT
        found.organization_id,
        (found.completed_at AT TIME ZONE 'UTC')::date AS {partition_column},
        found.row_hash
    FROM ({rows}) AS found
    WHERE found.counts
    -- Kept apart: the planner would compute each hash anew for either sum.
    OFFSET 0
) AS counted
GROUP BY counted.organization_id, counted.{partition_column}

-- name: readable
-- Whether there is a relation that this role may read what a subject needs of.
-- Takes: execmetrics.relation text, execmetrics.columns text[], the columns that are needed.
-- Gives: one row: relation bigint, its oid, NULL when there is none or a column is absent or forbidden.
SELECT
    (
        SELECT t.oid::bigint
        FROM pg_class AS t
        WHERE
            t.oid = to_regclass(current_setting('execmetrics.relation'))
            AND has_schema_privilege(t.relnamespace, 'USAGE')
            AND NOT EXISTS (
                SELECT
                FROM unnest(current_setting('execmetrics.columns')::text[]) AS wanted (name)
                LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = wanted.name AND NOT c.attisdropped
                WHERE c.attnum IS NULL OR NOT has_column_privilege(t.oid, c.attnum, 'SELECT')
            )
    ) AS relation

-- name: dropped_months
-- Until when months were dropped, so that their rows are gone from the source for good.
-- Takes: nothing; the source has the table in the place {months}.
-- Gives: one row: sealed_before timestamptz, NULL when none was dropped.
SELECT max(month_end) AS sealed_before
FROM orchestration.{months}
WHERE dropped_at IS NOT NULL
