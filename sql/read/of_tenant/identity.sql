-- Say whose rows this transaction may see; the policies of the tables ask for it.
-- Takes: organization_id text.
-- Gives: one row.
SELECT set_config('execmetrics.organization_id', %(organization_id)s, true)
