-- How a transaction ended whose connection was lost.
-- Takes: id text.
-- Gives: one row: status text, which is committed, aborted, in progress, or NULL when the server no longer knows.
SELECT pg_xact_status(%(id)s::xid8) AS status
