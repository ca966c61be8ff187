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
