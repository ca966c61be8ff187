-- Let one at a time make or drop partitions; the lock ends with the transaction.
-- Takes: nothing.
-- Gives: one row, read for nothing.
SELECT pg_advisory_xact_lock(hashtextextended('execmetrics log partitions', 0))
