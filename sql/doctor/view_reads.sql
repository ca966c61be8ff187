-- Which columns the views of some relations read, and whether the role that reads for them may.
-- Takes: role text (who reads through a view that asks its reader), views bigint[] and asking boolean[] (whether it
--        does), side by side.
-- Gives: one row per view and column read: view, relation, column_name, readable.
SELECT DISTINCT
    v.oid::bigint AS view,
    a.attrelid::bigint AS relation,
    a.attname::text AS column_name,
    has_column_privilege(
        CASE WHEN asked.asking THEN %(role)s::text ELSE pg_get_userbyid(v.relowner)::text END::name,
        a.attrelid, a.attnum, 'SELECT'
    ) AS readable
FROM unnest(%(views)s::oid[], %(asking)s::boolean[]) AS asked (oid, asking)
INNER JOIN pg_class AS v ON v.oid = asked.oid
INNER JOIN pg_rewrite AS r ON r.ev_class = v.oid
INNER JOIN pg_depend AS d
    ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
INNER JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attrelid <> v.oid
WHERE a.attnum <> 0
ORDER BY 1, 2, 3
