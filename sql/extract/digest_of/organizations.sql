-- The condition that limits digest.sql to some organizations.
-- Takes: execmetrics.organization_ids uuid[].
-- Gives: a job j of theirs.
AND j.organization_id IN (SELECT unnest(current_setting('execmetrics.organization_ids')::uuid[]))
