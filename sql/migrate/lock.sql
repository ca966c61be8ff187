-- Let one migration at a time change this database; the lock ends with the transaction.
-- Takes: patience text (how long another migration is waited for), table_patience text (how long a
--        table is: a waiting change makes every reader queue behind it), longest text (per statement).
-- Gives: one row, read for nothing.
SELECT
    set_config('lock_timeout', %(patience)s, true),
    set_config('statement_timeout', %(longest)s, true),
    pg_advisory_xact_lock(hashtextextended('execmetrics migrate', 0)),
    set_config('lock_timeout', %(table_patience)s, true)
