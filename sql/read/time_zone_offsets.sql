-- The rules of the zones in use, as the source's PostgreSQL had them.
-- Takes: nothing.
-- Gives: time_zone text, since timestamptz, offset_s integer.
SELECT time_zone, since, offset_s FROM analytics.time_zone_offsets
