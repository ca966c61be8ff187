-- Record that a digest found more deletes than anybody should believe.
-- Takes: organization_id uuid, withheld bigint, since date (the first day of creation it looked at; NULL for all).
-- Gives: one row when the organization was ever published.
UPDATE analytics.completeness
SET
    withheld_at = coalesce(withheld_at, now()),
    withheld_jobs = %(withheld)s,
    withheld_created_since = %(since)s
WHERE organization_id = %(organization_id)s
