-- Apply the keys to new rows, or leave them out ('replica', which takes a privilege), until the transaction ends.
-- Takes: role text, 'origin' or 'replica'.
-- Gives: nothing that is read.
SELECT set_config('session_replication_role', %(role)s, true)
