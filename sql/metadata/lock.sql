-- Let one sync at a time write execution_metadata; the lock ends with the transaction.
-- Takes: nothing.
-- Gives: nothing that is read.
SELECT pg_advisory_xact_lock(hashtextextended('execution-metrics metadata', 0))
