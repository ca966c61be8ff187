-- What the pipeline remembers beside the metrics, and how cells changed.

-- name: definitions
-- Every definition that was ever used.
-- Takes: nothing.
-- Gives: definition_version integer, definition text.
SELECT definition_version, definition FROM analytics.metric_definitions

-- name: keep_zone_offsets
-- Replace the kept rules of time zones by those that the source told.
-- Takes: time_zone text[], since timestamptz[], offset_s integer[]: every row of every zone that is replaced.
-- Gives: one row per offset that is new or differs.
WITH told AS MATERIALIZED (
    SELECT time_zone, since, offset_s
    FROM unnest(%(time_zone)s::text[], %(since)s::timestamptz[], %(offset_s)s::integer[])
        AS told (time_zone, since, offset_s)
),
repealed AS (
    DELETE FROM analytics.time_zone_offsets AS kept
    WHERE
        kept.time_zone IN (SELECT told.time_zone FROM told)
        AND NOT EXISTS (SELECT FROM told WHERE told.time_zone = kept.time_zone AND told.since = kept.since)
)
INSERT INTO analytics.time_zone_offsets AS kept (time_zone, since, offset_s)
SELECT time_zone, since, offset_s
FROM told
ORDER BY time_zone, since
ON CONFLICT (time_zone, since) DO UPDATE
SET offset_s = excluded.offset_s
WHERE kept.offset_s <> excluded.offset_s

-- name: lock
-- Wait until no other run reads the source and publishes; held by the session until it ends.
-- Takes: nothing; lock_timeout bounds the wait. Runs outside a transaction.
-- Gives: nothing that is read.
SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))

-- name: publication_records
-- From when on it is on record how the cells of an organization changed.
-- Takes: organization_id uuid, subject text; the place {table} of the subject.
-- Gives: one row: first_published_at (the earliest sign that it was published; NULL for none) and removed_before
--        (older restatements were removed; NULL for none).
SELECT
    least(
        (
            SELECT min(computed_at) FROM {table}
            WHERE organization_id = %(organization_id)s
        ),
        (
            SELECT min(coalesce(old_computed_at, restated_at)) FROM analytics.restatements
            WHERE organization_id = %(organization_id)s AND subject = %(subject)s
        )
    ) AS first_published_at,
    (SELECT removed_before FROM analytics.retention WHERE period = 'restatements') AS removed_before

-- name: published_zones
-- In which time zone each organization's days, weeks and months are published.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, time_zone.
SELECT organization_id, time_zone FROM analytics.watermarks WHERE subject = 'jobs'

-- name: record_outcomes
-- Record what became of these organizations in a run.
-- Takes: run_id uuid, organization_ids uuid[], subject text, outcome text, error_class text (NULL when published),
--        milliseconds bigint.
-- Gives: one row per organization.
INSERT INTO analytics.refresh_outcomes (
    run_id, organization_id, subject, outcome, error_class, finished_at, milliseconds
)
SELECT %(run_id)s, organization_id, %(subject)s, %(outcome)s, %(error_class)s, now(), %(milliseconds)s
FROM unnest(%(organization_ids)s::uuid[]) AS settled (organization_id)
ORDER BY organization_id
ON CONFLICT (run_id, organization_id, subject) DO UPDATE
SET
    outcome = excluded.outcome,
    error_class = excluded.error_class,
    finished_at = excluded.finished_at,
    milliseconds = excluded.milliseconds

-- name: remember_removal
-- Remember what was removed of a period, or of restatements, so that it is neither written again nor missed.
-- Takes: period text ('restatements' for these), before timestamptz.
-- Gives: nothing that is read.
INSERT INTO analytics.retention AS kept (period, removed_before)
VALUES (%(period)s, %(before)s)
ON CONFLICT (period) DO UPDATE SET removed_before = greatest(kept.removed_before, excluded.removed_before)

-- name: remove_old_outcomes
-- Remove outcomes of runs that ended before a moment, except the newest of the jobs and the steps of each
-- organization with metrics.
-- Takes: before timestamptz.
-- Gives: one row per outcome removed.
DELETE FROM analytics.refresh_outcomes AS old
WHERE
    old.finished_at < %(before)s
    AND (
        EXISTS (
            SELECT
            FROM analytics.refresh_outcomes AS newer
            WHERE
                newer.organization_id = old.organization_id AND newer.subject = old.subject
                AND newer.finished_at > old.finished_at
        )
        -- One that was never published and is tried no more is gone from the source.
        OR NOT EXISTS (
            SELECT FROM analytics.watermarks AS known WHERE known.organization_id = old.organization_id
        )
    )

-- name: remove_old_restatements
-- Remove restatements that were written before a moment.
-- Takes: before timestamptz.
-- Gives: one row per restatement removed.
DELETE FROM analytics.restatements WHERE restated_at < %(before)s

-- name: removed_before
-- What retention has removed.
-- Takes: nothing.
-- Gives: one row per period that anything was removed of: period ('restatements' for these), removed_before
--        timestamptz.
SELECT period, removed_before FROM analytics.retention

-- name: restatements_of_a_cell
-- How one cell changed after its period was over, wherever its bucket begins.
-- Takes: subject text, organization_id uuid, period text, starts timestamptz[] (where it may begin), cell jsonb (its
--        dimensions).
-- Gives: one row per restatement, the oldest first: period_start, restated_at, run_id, reason, old_computed_at
--        (since when the figures before stood; may be NULL), old and new (the figures before and after).
SELECT period_start, restated_at, run_id, reason, old_computed_at, old, new
FROM analytics.restatements
WHERE
    subject = %(subject)s AND organization_id = %(organization_id)s AND period = %(period)s
    AND period_start = any(%(starts)s::timestamptz[]) AND cell = %(cell)s::jsonb
ORDER BY restated_at, run_id

-- name: settle_definition
-- Give a definition its number, unless it has one.
-- Takes: definition text.
-- Gives: nothing that is read.
INSERT INTO analytics.metric_definitions (definition_version, definition, first_used_at)
SELECT coalesce(max(definition_version), 0) + 1, %(definition)s, now()
FROM analytics.metric_definitions
ON CONFLICT (definition) DO NOTHING

-- name: time_zone_offsets
-- The rules of the zones in use, as the source's PostgreSQL had them.
-- Takes: nothing.
-- Gives: time_zone text, since timestamptz, offset_s integer.
SELECT time_zone, since, offset_s FROM analytics.time_zone_offsets
