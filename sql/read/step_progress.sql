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
