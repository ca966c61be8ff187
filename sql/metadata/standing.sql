-- Whether execution_metadata is there, and whether this role may do to it and to its sources what a sync does.
-- Takes: nothing.
-- Gives: one row: is_there, is_ours and is_read_only, boolean.
SELECT
    bool_and(t.oid IS NOT NULL) AS is_there,
    coalesce(
        bool_and(
            has_schema_privilege(n.oid, 'USAGE')
            AND CASE wanted.privilege
                WHEN 'DELETE' THEN has_table_privilege(t.oid, 'DELETE')
                ELSE has_any_column_privilege(t.oid, wanted.privilege)
            END
        ),
        false
    ) AS is_ours,
    pg_is_in_recovery() AS is_read_only
FROM (
    VALUES
    ('execution_metadata', 'SELECT'),
    ('execution_metadata', 'INSERT'),
    ('execution_metadata', 'UPDATE'),
    ('execution_metadata', 'DELETE'),
    ('execution_metadata_syncs', 'SELECT'),
    ('execution_metadata_syncs', 'INSERT'),
    ('execution_metadata_syncs', 'UPDATE'),
    ('workflows', 'SELECT'),
    ('clients', 'SELECT'),
    ('jobs', 'SELECT'),
    ('organizations', 'SELECT'),
    -- Nothing is written there, but a row lock wants it.
    ('jobs', 'UPDATE'),
    ('organizations', 'UPDATE')
) AS wanted (table_name, privilege)
LEFT JOIN pg_namespace AS n ON n.nspname = 'orchestration'
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = wanted.table_name
