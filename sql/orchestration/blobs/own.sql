-- Keep blobs from being written until this transaction has ended, unless somebody is writing one.
-- Takes: nothing.
-- Gives: one row: owned boolean, false when somebody is.
SELECT pg_try_advisory_xact_lock(hashtextextended('execmetrics blobs', 0)) AS owned
