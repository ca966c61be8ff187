-- In which time zone each organization's days, weeks and months are published.
-- Takes: nothing.
-- Gives: one row per organization: organization_id, time_zone.
SELECT organization_id, time_zone FROM analytics.completeness
