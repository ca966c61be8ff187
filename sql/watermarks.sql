-- How far each organization has been read and published.

-- name: advance_completeness
-- Record how complete these organizations are, if nobody published them meanwhile.
-- Takes: organization_ids uuid[], seen_table_ids uuid[], seen_versions bigint[] and seen_run_ids uuid[] (what
--        the run found, NULL for none), complete_through timestamptz[], definition_versions integer[],
--        time_zones text[], zone_offsets text[], extracted_at timestamptz, facts_table_id uuid,
--        published_version bigint, run_id uuid, current_definition integer (that of the cells just written),
--        settled_since date (the first day of creation that was looked at for deletes; NULL for none).
-- Gives: one row per organization moved; fewer than asked for means that another run was faster.
INSERT INTO analytics.completeness AS stored (
    organization_id, complete_through, extracted_at, facts_table_id, published_version, published_at,
    definition_version, time_zone, zone_offsets, run_id
)
SELECT
    seen.organization_id, seen.complete_through, %(extracted_at)s, %(facts_table_id)s, %(published_version)s, now(),
    seen.definition_version, seen.time_zone, seen.zone_offsets, %(run_id)s
FROM unnest(
    %(organization_ids)s::uuid[], %(seen_table_ids)s::uuid[], %(seen_versions)s::bigint[], %(seen_run_ids)s::uuid[],
    %(complete_through)s::timestamptz[], %(definition_versions)s::integer[], %(time_zones)s::text[],
    %(zone_offsets)s::text[]
) AS seen (
    organization_id, table_id, version, run_id, complete_through, definition_version, time_zone, zone_offsets
)
LEFT JOIN analytics.completeness AS found USING (organization_id)
WHERE
    (found.facts_table_id, found.published_version, found.run_id)
    IS NOT DISTINCT FROM (seen.table_id, seen.version, seen.run_id)
ORDER BY seen.organization_id
ON CONFLICT (organization_id) DO UPDATE
SET
    complete_through = excluded.complete_through,
    extracted_at = excluded.extracted_at,
    facts_table_id = excluded.facts_table_id,
    published_version = excluded.published_version,
    published_at = excluded.published_at,
    definition_version = excluded.definition_version,
    time_zone = excluded.time_zone,
    zone_offsets = excluded.zone_offsets,
    -- A rebuild goes on where it was cut off only if nothing else was written meanwhile.
    rebuilding_version = CASE
        WHEN excluded.definition_version <> %(current_definition)s AND stored.rebuilding_version = %(current_definition)s
            THEN stored.rebuilding_version
    END,
    rebuilt_before = CASE
        WHEN excluded.definition_version <> %(current_definition)s AND stored.rebuilding_version = %(current_definition)s
            THEN stored.rebuilt_before
    END,
    withheld_at = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_created_since, '-infinity') THEN NULL
        ELSE stored.withheld_at
    END,
    withheld_jobs = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_created_since, '-infinity') THEN NULL
        ELSE stored.withheld_jobs
    END,
    withheld_created_since = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_created_since, '-infinity') THEN NULL
        ELSE stored.withheld_created_since
    END,
    run_id = excluded.run_id
WHERE EXISTS (
    -- What is compared above was committed when the statement began; this is the row that it waited for.
    SELECT
    FROM analytics.completeness AS found
    WHERE
        found.organization_id = stored.organization_id
        AND (found.facts_table_id, found.published_version, found.run_id)
        IS NOT DISTINCT FROM (stored.facts_table_id, stored.published_version, stored.run_id)
)
RETURNING organization_id

-- name: advance_steps
-- Record how complete the step metrics of these organizations are, if nobody published them meanwhile.
-- Takes: organization_ids uuid[], seen_run_ids uuid[] (what the run found, NULL for none), time_zones text[],
--        zone_offsets text[], horizon bigint, incarnation text, extracted_at timestamptz, facts_table_id uuid,
--        published_version bigint, definition_version integer, run_id uuid, settled_since date (the first day of
--        ending that was looked at for deletes; NULL for none).
-- Gives: one row per organization moved; fewer than asked for means that another run was faster.
INSERT INTO analytics.step_completeness AS stored (
    organization_id, horizon, incarnation, extracted_at, facts_table_id, published_version, published_at,
    definition_version, time_zone, zone_offsets, run_id
)
SELECT
    seen.organization_id, %(horizon)s, %(incarnation)s, %(extracted_at)s, %(facts_table_id)s, %(published_version)s,
    now(), %(definition_version)s, seen.time_zone, seen.zone_offsets, %(run_id)s
FROM unnest(
    %(organization_ids)s::uuid[], %(seen_run_ids)s::uuid[], %(time_zones)s::text[], %(zone_offsets)s::text[]
) AS seen (organization_id, run_id, time_zone, zone_offsets)
LEFT JOIN analytics.step_completeness AS found USING (organization_id)
WHERE found.run_id IS NOT DISTINCT FROM seen.run_id
ORDER BY seen.organization_id
ON CONFLICT (organization_id) DO UPDATE
SET
    horizon = excluded.horizon,
    incarnation = excluded.incarnation,
    extracted_at = excluded.extracted_at,
    facts_table_id = excluded.facts_table_id,
    published_version = excluded.published_version,
    published_at = excluded.published_at,
    definition_version = excluded.definition_version,
    time_zone = excluded.time_zone,
    zone_offsets = excluded.zone_offsets,
    withheld_at = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_ended_since, '-infinity') THEN NULL
        ELSE stored.withheld_at
    END,
    withheld_steps = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_ended_since, '-infinity') THEN NULL
        ELSE stored.withheld_steps
    END,
    withheld_ended_since = CASE
        WHEN %(settled_since)s::date <= coalesce(stored.withheld_ended_since, '-infinity') THEN NULL
        ELSE stored.withheld_ended_since
    END,
    run_id = excluded.run_id
WHERE EXISTS (
    -- What is compared above was committed when the statement began; this is the row that it waited for.
    SELECT
    FROM analytics.step_completeness AS found
    WHERE found.organization_id = stored.organization_id AND found.run_id = stored.run_id
)
RETURNING organization_id

-- name: audit_order
-- Whose metrics were compared with the source longest ago, whatever came out, and how many they are.
-- Takes: nothing.
-- Gives: organization_id, cells bigint; those never compared first.
SELECT completeness.organization_id, coalesce(stored.cells, 0) AS cells
FROM analytics.completeness
LEFT JOIN (
    SELECT organization_id, count(*) AS cells FROM analytics.aggregate_metrics GROUP BY organization_id
) AS stored USING (organization_id)
ORDER BY completeness.audited_at NULLS FIRST, completeness.organization_id

-- name: disown_facts
-- Forget from which facts the cells of these organizations are: the table has lost that version.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.completeness
-- A table that never was, so that everything is read and published anew.
SET facts_table_id = gen_random_uuid()
WHERE organization_id = any(%(organization_ids)s::uuid[])

-- name: disown_step_facts
-- Forget from which facts the step metrics of these organizations are: the table has lost that version.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.step_completeness
-- A table that never was, so that everything is read and published anew.
SET facts_table_id = gen_random_uuid()
WHERE organization_id = any(%(organization_ids)s::uuid[])
RETURNING organization_id

-- name: forget_published
-- Forget which version of the facts the cells of these organizations show.
-- Takes: organization_ids uuid[], forgotten bigint, which is no version.
-- Gives: one row per organization.
UPDATE analytics.completeness
SET published_version = %(forgotten)s
WHERE organization_id = any(%(organization_ids)s::uuid[])

-- name: forget_published_steps
-- Have the step metrics of organizations published anew as a whole: nobody knows which version they show.
-- Takes: organization_ids uuid[]; forgotten bigint, in place of a version.
-- Gives: one row per organization.
UPDATE analytics.step_completeness
SET published_version = %(forgotten)s
WHERE organization_id = any(%(organization_ids)s::uuid[])
RETURNING organization_id

-- name: hold_published
-- Keep others from publishing these organizations until the transaction ends; waits for whoever is about to.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization that was ever published: organization_id, facts_table_id,
--        published_version, run_id (NULL if unknown), as they are then.
SELECT organization_id, facts_table_id, published_version, run_id
FROM analytics.completeness
WHERE organization_id = any(%(organization_ids)s::uuid[])
ORDER BY organization_id
FOR UPDATE

-- name: mark_audited
-- Record that the metrics of these organizations were compared with plain SQL on the source.
-- Takes: organization_ids uuid[], verified uuid[] (those found equal), audited_at timestamptz.
-- Gives: one row per organization.
UPDATE analytics.completeness
SET
    audited_at = %(audited_at)s,
    verified_at = CASE WHEN organization_id = any(%(verified)s::uuid[]) THEN %(audited_at)s ELSE verified_at END
WHERE organization_id = any(%(organization_ids)s::uuid[])

-- name: move_cursors
-- Remember how far the source has been read for these organizations.
-- Takes: organization_ids uuid[], horizon bigint, incarnation text, swept_at timestamptz.
-- Gives: nothing that is read.
INSERT INTO analytics.extraction_cursors (organization_id, horizon, incarnation, swept_at)
SELECT organization_id, %(horizon)s, %(incarnation)s, %(swept_at)s
FROM unnest(%(organization_ids)s::uuid[]) AS scope (organization_id)
ORDER BY organization_id
ON CONFLICT (organization_id) DO UPDATE
SET horizon = excluded.horizon, incarnation = excluded.incarnation, swept_at = excluded.swept_at

-- name: published_state
-- How far each organization has been read and published.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, horizon, incarnation, swept_at, extracted_at,
--        complete_through, facts_table_id, published_version, definition_version, time_zone, zone_offsets,
--        rebuilding_version, rebuilt_before, run_id (these three may be NULL), deletes_withheld. Who has no
--        cursor, because somebody removed it, has that of no source.
SELECT
    p.organization_id,
    coalesce(c.horizon, 0) AS horizon,
    coalesce(c.incarnation, '') AS incarnation,
    coalesce(c.swept_at, timestamptz 'epoch') AS swept_at,
    p.extracted_at,
    p.complete_through,
    p.facts_table_id,
    p.published_version,
    p.definition_version,
    p.time_zone,
    p.zone_offsets,
    p.rebuilding_version,
    p.rebuilt_before,
    p.run_id,
    p.withheld_at IS NOT NULL AS deletes_withheld
FROM analytics.completeness AS p
LEFT JOIN analytics.extraction_cursors AS c USING (organization_id)

-- name: renew_edition
-- Give the metrics of these organizations another edition, because cells were written without a publication.
-- Takes: organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.completeness
SET edition = edition + 1
WHERE organization_id = any(%(organization_ids)s::uuid[])

-- name: settle_rebuild
-- Record how far the cells of these organizations are of a definition.
-- Takes: organization_ids uuid[], definition_version integer, rebuilt_before timestamptz (NULL when all are).
-- Gives: one row per organization.
UPDATE analytics.completeness
SET
    definition_version = CASE
        WHEN %(rebuilt_before)s::timestamptz IS NULL THEN %(definition_version)s ELSE definition_version
    END,
    rebuilding_version = CASE WHEN %(rebuilt_before)s::timestamptz IS NOT NULL THEN %(definition_version)s END,
    rebuilt_before = %(rebuilt_before)s
WHERE organization_id = any(%(organization_ids)s::uuid[])

-- name: step_progress
-- How far the step metrics of each organization have been read and published.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, horizon, incarnation, extracted_at, facts_table_id,
--        published_version, definition_version, time_zone, zone_offsets, run_id.
SELECT
    organization_id,
    horizon,
    incarnation,
    extracted_at,
    facts_table_id,
    published_version,
    definition_version,
    time_zone,
    zone_offsets,
    run_id
FROM analytics.step_completeness

-- name: withhold_deletes
-- Record that a digest found more deletes than anybody should believe.
-- Takes: organization_id uuid, withheld bigint, since date (the first day of creation it looked at; NULL for all).
-- Gives: one row when the organization was ever published.
UPDATE analytics.completeness
SET
    withheld_at = coalesce(withheld_at, now()),
    withheld_jobs = %(withheld)s,
    withheld_created_since = %(since)s
WHERE organization_id = %(organization_id)s

-- name: withhold_step_deletes
-- Record that a digest of steps found more deletes than anybody should believe.
-- Takes: organization_id uuid, withheld bigint, since date (the first day it looked at; NULL for all).
-- Gives: one row when the organization's steps were ever published.
UPDATE analytics.step_completeness
SET
    withheld_at = coalesce(withheld_at, now()),
    withheld_steps = %(withheld)s,
    withheld_ended_since = %(since)s
WHERE organization_id = %(organization_id)s
