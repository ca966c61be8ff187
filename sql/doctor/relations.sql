-- The tables and views of some schemas, and the tables that their views read, wherever those are.
-- Takes: role text (whose rights), schemas text[] (of which every relation), contract text (the schema of the
--        contract, of which what its views read).
-- Gives: one row per relation, partitions that no such view reads left out: oid, schema, name, kind, owner,
--        bytes (its partitions included, 0 for a view), usable (its schema), owned (by a role whose rights it
--        has), asks_its_reader, definition (of a view, else '').
WITH contract AS (
    SELECT DISTINCT d.refobjid AS oid
    FROM pg_class AS v
    INNER JOIN pg_namespace AS n ON n.oid = v.relnamespace AND n.nspname = %(contract)s
    INNER JOIN pg_rewrite AS r ON r.ev_class = v.oid AND v.relkind IN ('v', 'm')
    INNER JOIN pg_depend AS d
        ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
)
SELECT
    c.oid::bigint AS oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind::text AS kind,
    pg_get_userbyid(c.relowner)::text AS owner,
    coalesce(
        (SELECT sum(pg_table_size(tree.relid)) FROM pg_partition_tree(c.oid) AS tree),
        CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END
    )::bigint AS bytes,
    has_schema_privilege(%(role)s::name, n.oid, 'USAGE') AS usable,
    pg_has_role(%(role)s::name, c.relowner, 'USAGE') AS owned,
    EXISTS (
        SELECT FROM unnest(c.reloptions) AS option (text)
        WHERE option.text IN ('security_invoker=true', 'security_invoker=on', 'security_invoker=1')
    ) AS asks_its_reader,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END AS definition
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE
    c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND (
        (n.nspname = ANY (%(schemas)s) AND NOT c.relispartition)
        OR c.oid IN (SELECT contract.oid FROM contract)
    )
ORDER BY 2, 3
