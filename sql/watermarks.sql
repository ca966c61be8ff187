-- How far each organization has been read and published.

-- name: find
-- How far each organization has been read and published.
-- Takes: nothing.
-- Gives: one row per subject and organization: subject, organization_id, checkpoint (JSON; NULL for none), swept_at,
--        extracted_at, complete_through, facts_table_id, published_version, definition_version, time_zone,
--        zone_offsets, rebuilding_version, rebuilt_before, run_id (these three may be NULL), is_guarded.
SELECT
    subject, organization_id, checkpoint::text AS checkpoint, swept_at, extracted_at, complete_through, facts_table_id,
    published_version, definition_version, time_zone, zone_offsets, rebuilding_version, rebuilt_before, run_id,
    guarded_at IS NOT NULL AS is_guarded
FROM analytics.watermarks

-- name: advance
-- Record how complete these organizations are, if no other run published them meanwhile.
-- Takes: subject text; organization_ids uuid[], seen_table_ids uuid[], seen_versions bigint[] and seen_run_ids uuid[]
--        (what the run found, NULL for none), complete_through timestamptz[], definition_versions integer[],
--        time_zones text[], zone_offsets text[], swept boolean[] (whether all rows were looked at);
--        checkpoint text (JSON), extracted_at timestamptz, facts_table_id uuid, published_version bigint, run_id uuid,
--        current_definition integer (that of the cells just written), settled_since date (the first day that was
--        looked at for deletes; NULL for none).
-- Gives: one row per organization moved; fewer than asked for means that another run was faster.
INSERT INTO analytics.watermarks AS stored (
    subject, organization_id, checkpoint, swept_at, complete_through, extracted_at, facts_table_id,
    published_version, published_at, definition_version, time_zone, zone_offsets, run_id
)
SELECT
    %(subject)s, seen.organization_id, CASE WHEN seen.swept THEN %(checkpoint)s::jsonb END,
    CASE WHEN seen.swept THEN %(extracted_at)s::timestamptz ELSE 'epoch' END,
    seen.complete_through, %(extracted_at)s, %(facts_table_id)s, %(published_version)s, now(),
    seen.definition_version, seen.time_zone, seen.zone_offsets, %(run_id)s
FROM unnest(
    %(organization_ids)s::uuid[], %(seen_table_ids)s::uuid[], %(seen_versions)s::bigint[], %(seen_run_ids)s::uuid[],
    %(complete_through)s::timestamptz[], %(definition_versions)s::integer[], %(time_zones)s::text[],
    %(zone_offsets)s::text[], %(swept)s::boolean[]
) AS seen (
    organization_id, table_id, version, run_id, complete_through, definition_version, time_zone, zone_offsets, swept
)
LEFT JOIN analytics.watermarks AS found
    ON found.subject = %(subject)s AND found.organization_id = seen.organization_id
WHERE
    (found.facts_table_id, found.published_version, found.run_id)
    IS NOT DISTINCT FROM (seen.table_id, seen.version, seen.run_id)
ORDER BY seen.organization_id
ON CONFLICT (subject, organization_id) DO UPDATE
SET
    checkpoint = coalesce(excluded.checkpoint, stored.checkpoint),
    swept_at = greatest(excluded.swept_at, stored.swept_at),
    complete_through = excluded.complete_through,
    extracted_at = excluded.extracted_at,
    facts_table_id = excluded.facts_table_id,
    published_version = excluded.published_version,
    published_at = excluded.published_at,
    definition_version = excluded.definition_version,
    time_zone = excluded.time_zone,
    zone_offsets = excluded.zone_offsets,
    -- A rebuild goes on where it was cut off only if nothing else was written meanwhile.
    (rebuilding_version, rebuilt_before) = (
        SELECT stored.rebuilding_version, stored.rebuilt_before
        WHERE excluded.definition_version <> %(current_definition)s AND stored.rebuilding_version = %(current_definition)s
    ),
    (guarded_at, guarded_rows, guarded_since) = (
        SELECT stored.guarded_at, stored.guarded_rows, stored.guarded_since
        WHERE (%(settled_since)s::date <= coalesce(stored.guarded_since, '-infinity')) IS NOT TRUE
    ),
    run_id = excluded.run_id
WHERE EXISTS (
    -- What is compared above was committed when the statement began; this is the row that it waited for.
    SELECT
    FROM analytics.watermarks AS found
    WHERE
        found.subject = stored.subject AND found.organization_id = stored.organization_id
        AND (found.facts_table_id, found.published_version, found.run_id)
        IS NOT DISTINCT FROM (stored.facts_table_id, stored.published_version, stored.run_id)
)
RETURNING organization_id

-- name: hold
-- Keep others from publishing these organizations until the transaction ends; waits for a publication under way.
-- Takes: subject text, organization_ids uuid[].
-- Gives: one row per organization that was ever published: organization_id, facts_table_id,
--        published_version, run_id (NULL if unknown), as they are then.
SELECT organization_id, facts_table_id, published_version, run_id
FROM analytics.watermarks
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])
ORDER BY organization_id
FOR UPDATE

-- name: disown_facts
-- Forget from which facts the cells of these organizations are: the table has lost that version.
-- Takes: subject text, organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.watermarks
-- A table that never was, so that everything is read and published anew.
SET facts_table_id = gen_random_uuid()
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])

-- name: forget_published
-- Forget which version of the facts the cells of these organizations show.
-- Takes: subject text, organization_ids uuid[], forgotten bigint, which is no version.
-- Gives: one row per organization.
UPDATE analytics.watermarks
SET published_version = %(forgotten)s
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])

-- name: guard_deletes
-- Record that a checksum comparison found more deletes than anybody should believe.
-- Takes: subject text, organization_id uuid, rows bigint, since date (the first day it looked at; NULL for all).
-- Gives: one row when the organization was ever published.
UPDATE analytics.watermarks
SET guarded_at = coalesce(guarded_at, now()), guarded_rows = %(rows)s, guarded_since = %(since)s
WHERE subject = %(subject)s AND organization_id = %(organization_id)s

-- name: renew_edition
-- Give the metrics of these organizations another edition, because cells were written without a publication.
-- Takes: subject text, organization_ids uuid[].
-- Gives: one row per organization.
UPDATE analytics.watermarks
SET edition = edition + 1
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])

-- name: settle_rebuild
-- Record how far the cells of these organizations are of a definition.
-- Takes: subject text, organization_ids uuid[], definition_version integer, rebuilt_before timestamptz (NULL when all
--        are).
-- Gives: one row per organization.
UPDATE analytics.watermarks
SET
    definition_version = CASE
        WHEN %(rebuilt_before)s::timestamptz IS NULL THEN %(definition_version)s ELSE definition_version
    END,
    rebuilding_version = CASE WHEN %(rebuilt_before)s::timestamptz IS NOT NULL THEN %(definition_version)s END,
    rebuilt_before = %(rebuilt_before)s
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])

-- name: audit_order
-- Whose metrics were compared with the source longest ago, whatever came out, and how many they are.
-- Takes: nothing.
-- Gives: organization_id, cells bigint; those never compared first.
SELECT published.organization_id, coalesce(stored.cells, 0) AS cells
FROM analytics.watermarks AS published
LEFT JOIN (
    SELECT organization_id, count(*) AS cells FROM analytics.aggregate_metrics GROUP BY organization_id
) AS stored USING (organization_id)
WHERE published.subject = 'jobs'
ORDER BY published.audited_at NULLS FIRST, published.organization_id

-- name: mark_audited
-- Record that the metrics of these organizations were compared with plain SQL on the source.
-- Takes: subject text, organization_ids uuid[], verified uuid[] (those found equal), audited_at timestamptz.
-- Gives: one row per organization.
UPDATE analytics.watermarks
SET
    audited_at = %(audited_at)s,
    verified_at = CASE WHEN organization_id = any(%(verified)s::uuid[]) THEN %(audited_at)s ELSE verified_at END
WHERE subject = %(subject)s AND organization_id = any(%(organization_ids)s::uuid[])
