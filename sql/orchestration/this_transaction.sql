-- By which id the server will remember how this transaction ended.
-- Takes: nothing.
-- Gives: one row: id text, NULL while the transaction has written nothing.
SELECT pg_current_xact_id_if_assigned()::text AS id
