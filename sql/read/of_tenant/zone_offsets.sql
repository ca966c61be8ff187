-- By which clocks one tenant's days, weeks and months begin.
-- Takes: organization_id uuid.
-- Gives: since and offset_s of its zone, in the order of time; no row for UTC.
SELECT rule.since, rule.offset_s
FROM analytics.completeness AS published
INNER JOIN analytics.time_zone_offsets AS rule ON rule.time_zone = published.time_zone
WHERE published.organization_id = %(organization_id)s
ORDER BY rule.since
