-- What lives in a schema.
-- Takes: schema text.
-- Gives: one row: present boolean (whether the schema exists), objects bigint (tables, types, functions in it).
SELECT
    to_regnamespace(%(schema)s) IS NOT NULL AS present,
    count(*) AS objects
FROM pg_depend
WHERE
    refclassid = 'pg_namespace'::regclass
    AND refobjid = to_regnamespace(%(schema)s)
    AND deptype = 'n'
