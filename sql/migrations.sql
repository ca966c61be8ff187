-- What migrations ask, and whoever needs to know that they were run.

-- name: analytics_revision
-- Which migration the analytics schema is at.
-- Takes: nothing.
-- Gives: at most one row: version_num.
SELECT version_num FROM analytics.alembic_version

-- name: lock
-- Let one migration at a time change this database; the lock ends with the transaction.
-- Takes: patience text (how long another migration is waited for), table_patience text (how long a
--        table is: a waiting change makes every reader queue behind it), longest text (per statement).
-- Gives: one row, read for nothing.
SELECT
    set_config('lock_timeout', %(patience)s, true),
    set_config('statement_timeout', %(longest)s, true),
    pg_advisory_xact_lock(hashtextextended('execmetrics migrate', 0)),
    set_config('lock_timeout', %(table_patience)s, true)

-- name: schema_objects
-- What lives in a schema.
-- Takes: schema text.
-- Gives: one row: present boolean (whether the schema exists), objects bigint (tables, types, functions in it).
SELECT to_regnamespace(%(schema)s) IS NOT NULL AS present, count(*) AS objects
FROM pg_depend
WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace(%(schema)s) AND deptype = 'n'

-- name: unreadable_columns
-- Which columns of a schema are absent, or may not be read by this role.
-- Takes: schema text, tables text[] and columns text[], side by side.
-- Gives: one row per such column: table_name, column_name.
SELECT wanted.table_name, wanted.column_name
FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS wanted (table_name, column_name)
LEFT JOIN pg_namespace AS n ON n.nspname = %(schema)s
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = wanted.table_name
LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = wanted.column_name AND NOT c.attisdropped
WHERE c.attnum IS NULL OR NOT (has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(t.oid, c.attnum, 'SELECT'))
ORDER BY 1, 2
