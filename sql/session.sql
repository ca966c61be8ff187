-- What every session begins with.

-- name: hand_over
-- Hand values over as settings of the transaction, since bound parameters would take a read off COPY.
-- Takes: $1, a JSON object of setting names and their texts.
-- Gives: nothing that is read.
SELECT set_config(setting.name, setting.value, true)
FROM json_each_text($1::text::json) AS setting (name, value)

-- name: sees_every_tenant
-- Whether this role is shown every organization's rows, whichever tenant is set: it may write them, or obeys no policy.
-- Takes: nothing.
-- Gives: one row: sees_every_tenant.
SELECT
    coalesce(has_table_privilege(to_regclass('analytics.aggregate_metrics'), 'INSERT'), false)
    OR (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user) AS sees_every_tenant

-- name: settings
-- What a session of ours goes by, whatever the role, the database, the shell or a pooler prefer: how values
-- are written and read, that transactions may write unless they say otherwise, and that nothing of it ends
-- by itself. Set afterwards, because a pooler refuses at the start what it does not know.
-- Takes: nothing.
-- Gives: nothing that is read.
SELECT set_config(setting.name, setting.value, false)
FROM (
    VALUES
    ('search_path', '"$user", public', 0),
    ('DateStyle', 'ISO, MDY', 0),
    ('IntervalStyle', 'postgres', 0),
    ('TimeZone', 'UTC', 0),
    ('bytea_output', 'hex', 0),
    ('extra_float_digits', '1', 0),
    ('array_nulls', 'on', 0),
    ('quote_all_identifiers', 'off', 0),
    ('standard_conforming_strings', 'on', 0),
    ('transform_null_equals', 'off', 0),
    ('row_security', 'on', 0),
    ('exit_on_error', 'off', 0),
    ('default_transaction_isolation', 'read committed', 0),
    ('default_transaction_read_only', 'off', 0),
    ('default_transaction_deferrable', 'off', 0),
    ('statement_timeout', '0', 0),
    ('lock_timeout', '0', 0),
    ('idle_in_transaction_session_timeout', '0', 0),
    ('idle_session_timeout', '0', 140000),
    ('transaction_timeout', '0', 170000)
) AS setting (name, value, since)
WHERE setting.since <= current_setting('server_version_num')::integer
