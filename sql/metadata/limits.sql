-- Bound what the statements that follow in this transaction may take.
-- Takes: patience text (how long anybody is waited for), longest text (per statement).
-- Gives: one row, read for nothing.
SELECT
    set_config('lock_timeout', %(patience)s, true),
    set_config('statement_timeout', %(longest)s, true)
