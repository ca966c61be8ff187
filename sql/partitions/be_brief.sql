-- Wait for no lock longer than this, so that nobody waits long behind us, and a deadlock ends before it is noticed.
-- Takes: patience text. Holds for the transaction.
-- Gives: one row, read for nothing.
SELECT set_config('lock_timeout', %(patience)s, true)
