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
