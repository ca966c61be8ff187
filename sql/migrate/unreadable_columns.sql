-- Which columns of a schema are absent, or may not be read by this role.
-- Takes: schema text, tables text[] and columns text[], side by side.
-- Gives: one row per such column: table_name, column_name.
SELECT
    wanted.table_name,
    wanted.column_name
FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS wanted (table_name, column_name)
LEFT JOIN pg_namespace AS n ON n.nspname = %(schema)s
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = wanted.table_name
LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = wanted.column_name AND NOT c.attisdropped
WHERE
    c.attnum IS NULL
    OR NOT has_schema_privilege(n.oid, 'USAGE')
    OR NOT has_column_privilege(t.oid, c.attnum, 'SELECT')
ORDER BY 1, 2
