-- Do not look up every job's workflow and client in this transaction: they come from the same join that wrote them.
-- Only a superuser may say so; it halves the time. Takes and gives nothing.
SELECT set_config('session_replication_role', 'replica', true)
