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
