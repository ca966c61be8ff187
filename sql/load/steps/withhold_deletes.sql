-- Record that a digest of steps found more deletes than anybody should believe.
-- Takes: organization_id uuid, withheld bigint, since date (the first day it looked at; NULL for all).
-- Gives: one row when the organization's steps were ever published.
UPDATE analytics.step_completeness
SET
    withheld_at = coalesce(withheld_at, now()),
    withheld_steps = %(withheld)s,
    withheld_ended_since = %(since)s
WHERE organization_id = %(organization_id)s
