-- From computed cells to the tables of metrics. Places: {table} of the subject; {staged}, a temporary table of its
-- cells; {key}, {values} and {measures}, its columns, alone or prefixed by a table; {same_cell}, whether staged and
-- stored have the same key; {total}, the column that counts all rows.

-- name: stage
-- Where computed cells wait; emptied by each commit, and gone with the session.
-- Takes: nothing.
-- Gives: the empty table {staged}; a cell whose total is 0 says that no row is left in it, and `reason` why a cell
--        is written anew.
CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS AS
SELECT {key}, {values}, NULL::text AS reason
FROM {table}
WITH NO DATA

-- name: copy
-- Copy cells into the staging table.
-- Takes: rows in the binary format, columns in this order.
-- Gives: nothing.
COPY {staged} ({key}, {values}, reason) FROM STDIN (FORMAT binary)

-- name: is_row_security_active
-- Whether row-level security holds for this role, as it does for all but the owner: then COPY FROM is refused.
-- Takes: nothing.
-- Gives: one row: active boolean.
SELECT row_security_active('{table}') AS active

-- name: copy_first
-- Copy the cells of organizations that have none straight into their table.
-- Takes: rows in the binary format, columns in this order.
-- Gives: nothing.
COPY {table} ({key}, {values}, computed_at, definition_version) FROM STDIN (FORMAT binary)

-- name: insert
-- Write the staged cells of organizations that have none, in the order in which they were copied: that of their keys.
-- Takes: the table {staged}; computed_at timestamptz, definition_version integer: of every cell.
-- Gives: one row per cell.
INSERT INTO {table} ({key}, {values}, computed_at, definition_version)
SELECT {key}, {values}, %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM {staged}

-- name: empty
-- Make room for the next cells of organizations that have none.
-- Takes: the table {staged}.
-- Gives: nothing.
TRUNCATE {staged}

-- name: analyze
-- Without statistics PostgreSQL would compare every staged row with every stored one.
-- Takes: the table {staged}.
-- Gives: nothing.
ANALYZE {staged}

-- name: stage_leftovers
-- Stage the removal of stored cells that a complete recomputation of their range did not give again.
-- Takes: the table {staged}; organization_ids uuid[], periods text[], since and until timestamptz (bounds of
--        period_start, -infinity and infinity for none): every cell within was staged; reason text.
-- Gives: one row per cell that is left over.
INSERT INTO {staged} ({key}, {total}, reason)
SELECT {stored_key}, 0, %(reason)s
FROM {table} AS stored
WHERE
    stored.organization_id = any(%(organization_ids)s::uuid[]) AND stored.period = any(%(periods)s::text[])
    AND stored.period_start >= %(since)s::timestamptz AND stored.period_start < %(until)s::timestamptz
    AND NOT EXISTS (SELECT FROM {staged} AS staged WHERE {same_cell})

-- name: keep_restatements
-- Keep the figures of cells that change although their period was over when it was last published, or that
-- were not ours, whether it was over or not.
-- Takes: the table {staged}; subject text; run_id uuid; organization_ids uuid[], periods text[] and open_since
--        timestamptz[]: the bucket of each period that was not over yet, for organizations published before;
--        sealed_before timestamptz, as `upsert` does.
-- Gives: one row per cell; `old` is NULL where there was no cell, and `new` where there is none any more.
INSERT INTO analytics.restatements AS kept (
    organization_id, subject, period, period_start, cell, reason, run_id, restated_at, old_computed_at, old, new
)
SELECT
    staged.organization_id, %(subject)s, staged.period, staged.period_start, jsonb_build_object({cell}),
    staged.reason, %(run_id)s, now(), stored.computed_at,
    CASE WHEN stored.{total} IS NOT NULL THEN jsonb_build_object({old}) END,
    CASE WHEN staged.{total} > 0 THEN jsonb_build_object({new}) END
FROM {staged} AS staged
INNER JOIN unnest(%(organization_ids)s::uuid[], %(periods)s::text[], %(open_since)s::timestamptz[])
    AS published (organization_id, period, open_since)
    ON published.organization_id = staged.organization_id AND published.period = staged.period
LEFT JOIN {table} AS stored ON {same_cell}
WHERE
    (staged.period_start < published.open_since OR staged.reason = 'drift')
    AND coalesce(stored.{total}, 0) + staged.{total} > 0
    AND ({stored_measures}) IS DISTINCT FROM ({staged_measures})
    AND (
        staged.period_start >= %(sealed_before)s::timestamptz
        OR staged.{total} >= coalesce(stored.{total}, 0)
    )
ORDER BY {staged_key}
ON CONFLICT (organization_id, subject, period, period_start, cell, run_id) DO UPDATE
SET new = excluded.new, restated_at = excluded.restated_at

-- name: delete_emptied
-- Remove the cells that no row is left in, unless they are sealed.
-- Takes: the table {staged}; sealed_before timestamptz, as `upsert` does.
-- Gives: one row per cell removed.
DELETE FROM {table} AS stored
USING {staged} AS staged
WHERE staged.{total} = 0 AND {same_cell} AND stored.period_start >= %(sealed_before)s::timestamptz

-- name: upsert
-- Write the staged cells that are new, differ or are of another definition, in key order so that concurrent
-- writers cannot deadlock.
-- Takes: the table {staged}; computed_at timestamptz, definition_version integer: of every cell; sealed_before
--        timestamptz, -infinity for nothing: a cell that begins before it loses no row, because the source no
--        longer has all of its rows.
-- Gives: one row per cell written; identical cells are left alone, and one that only its definition tells
--        apart keeps the time at which it last changed.
INSERT INTO {table} AS stored ({key}, {values}, computed_at, definition_version)
SELECT {key}, {values}, %(computed_at)s::timestamptz, %(definition_version)s::integer
FROM {staged}
WHERE {total} > 0
ORDER BY {key}
ON CONFLICT ({key}) DO UPDATE
SET
    {set_values},
    computed_at = CASE
        WHEN ({stored_measures}) IS DISTINCT FROM ({excluded_measures}) THEN excluded.computed_at
        ELSE stored.computed_at
    END,
    definition_version = excluded.definition_version
WHERE
    ({stored_values}, stored.definition_version) IS DISTINCT FROM ({excluded_values}, excluded.definition_version)
    AND (
        stored.period_start >= %(sealed_before)s::timestamptz OR excluded.{total} >= stored.{total}
    )

-- name: proposed_changes
-- Which stored cells the staged ones would change, the largest changes of each organization first; a cell may
-- have been staged more than once.
-- Takes: the table {staged}; rows integer: how many of each organization.
-- Gives: organization_id, period, period_start, cell (its dimensions), old and new (its figures, NULL for no cell)
--        and cells, how many of the organization would change in all.
SELECT organization_id, period, period_start, cell, old, new, cells
FROM (
    SELECT
        staged.organization_id, staged.period, staged.period_start, jsonb_build_object({cell}) AS cell,
        CASE WHEN stored.{total} IS NOT NULL THEN jsonb_build_object({old}) END AS old,
        CASE WHEN staged.{total} > 0 THEN jsonb_build_object({new}) END AS new,
        count(*) OVER (PARTITION BY staged.organization_id) AS cells,
        row_number() OVER (
            PARTITION BY staged.organization_id
            ORDER BY {by_change}, {staged_key}
        ) AS place
    FROM (SELECT DISTINCT ON ({key}) * FROM {staged}) AS staged
    LEFT JOIN {table} AS stored ON {same_cell}
    WHERE
        coalesce(stored.{total}, 0) + staged.{total} > 0
        AND ({stored_measures}) IS DISTINCT FROM ({staged_measures})
) AS changed
WHERE place <= %(rows)s
ORDER BY organization_id, place

-- name: organizations_with_cells
-- Which of these organizations have any cell.
-- Takes: organization_ids uuid[].
-- Gives: organization_id.
SELECT organization_id
FROM unnest(%(organization_ids)s::uuid[]) AS asked (organization_id)
WHERE EXISTS (SELECT FROM {table} AS stored WHERE stored.organization_id = asked.organization_id)

-- name: count_cells
-- How many cells are stored.
-- Takes: nothing.
-- Gives: one row: cells bigint.
SELECT count(*) AS cells FROM {table}

-- name: counted_rows
-- How many rows are counted, organization by organization, in the buckets of a period that begin before a moment: cells
-- that are broken down by nothing, or by what is never added up, hold each row once.
-- Takes: period text, before timestamptz (infinity for all).
-- Gives: one row per organization: organization_id, rows bigint.
SELECT organization_id, sum({total})::bigint AS rows
FROM {table}
WHERE period = %(period)s AND period_start < %(before)s::timestamptz AND {counts_once}
GROUP BY organization_id

-- name: remove_old_cells
-- Remove cells of one period that begin before a moment, and give the metrics that had some another edition.
-- Takes: period text, before timestamptz, subject text.
-- Gives: one row: how many cells were removed.
WITH removed AS (
    DELETE FROM {table}
    WHERE period = %(period)s AND period_start < %(before)s
    RETURNING organization_id
),
renewed AS (
    UPDATE analytics.watermarks
    SET edition = edition + 1
    WHERE subject = %(subject)s AND organization_id IN (SELECT organization_id FROM removed)
)
SELECT count(*) FROM removed

-- name: stored_cells
-- The stored cells of these organizations.
-- Takes: execmetrics.organizations, .started_since, .started_until and .started_own, as `verify/expected` does.
-- Gives: one row per cell with its key, values and definition_version.
SELECT {key}, {values}, definition_version
FROM {table} AS stored
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
            own.organization_id = stored.organization_id
            AND (stored.period_start < own.since OR stored.period_start >= own.until)
    )

-- name: cell
-- One stored cell, wherever its bucket begins.
-- Takes: organization_id uuid, period text, starts timestamptz[] (where it may begin), and the dimensions.
-- Gives: one row per start that has a cell: period_start, computed_at, definition_version and the measures.
SELECT period_start, computed_at, definition_version, {measures}
FROM {table}
WHERE
    organization_id = %(organization_id)s AND period = %(period)s AND period_start = any(%(starts)s::timestamptz[])
    AND {one_cell}
