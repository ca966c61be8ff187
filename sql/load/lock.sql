-- Wait until no other run reads the source and publishes; held by the session until it ends.
-- Takes: nothing; lock_timeout bounds the wait. Runs outside a transaction.
-- Gives: nothing that is read.
SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))
