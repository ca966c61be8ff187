-- Let one sync at a time write execution_metadata; the lock ends with the transaction.
-- Takes: patience text (how long another sync is waited for, and then any row), longest text (per statement).
-- Gives: one row, read for nothing.
SELECT
    set_config('lock_timeout', %(patience)s, true),
    set_config('statement_timeout', %(longest)s, true),
    pg_advisory_xact_lock(hashtextextended('execution-metrics metadata', 0))
