-- Keep blobs from being swept until this transaction has ended; any number of transactions may.
-- Takes: nothing.
-- Gives: one row.
SELECT pg_advisory_xact_lock_shared(hashtextextended('execmetrics blobs', 0))
