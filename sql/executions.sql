-- What the statements of the operational schema share.

-- name: how_it_ended
-- How a transaction ended whose connection was lost.
-- Takes: id text.
-- Gives: one row: status text, which is committed, aborted, in progress, or NULL when the server no longer knows.
SELECT pg_xact_status(%(id)s::xid8) AS status

-- name: record_access
-- Say who is about to read rows of a tenant that may hold personal health data, and why.
-- Takes: organization_id uuid, accessed_by text, accessed text (the table, and the column if it is one), job_id uuid (may
--        be NULL), purpose text.
-- Gives: nothing.
INSERT INTO orchestration.phi_access_log (organization_id, accessed_by, accessed, job_id, purpose)
VALUES (%(organization_id)s, %(accessed_by)s, %(accessed)s, %(job_id)s, %(purpose)s)

-- name: this_transaction
-- By which id the server will remember how this transaction ended.
-- Takes: nothing.
-- Gives: one row: id text, NULL while the transaction has written nothing.
SELECT pg_current_xact_id_if_assigned()::text AS id
