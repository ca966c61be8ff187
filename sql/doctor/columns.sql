-- The columns of some relations, those of their row versions included; none of their values.
-- Takes: role text (whose rights), relations bigint[] (their oids).
-- Gives: one row per column, in their order: relation, name, declared, holds (the name of its type, or `enum`),
--        nullable, default_text, labels text[] (of an enum), readable.
SELECT
    c.attrelid::bigint AS relation,
    c.attname::text AS name,
    format_type(c.atttypid, c.atttypmod) AS declared,
    CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN b.typname ELSE t.typname END::text AS holds,
    NOT (c.attnotnull OR t.typnotnull) AS nullable,
    coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default_text,
    ARRAY(
        SELECT e.enumlabel::text
        FROM pg_enum AS e
        WHERE e.enumtypid = c.atttypid
        ORDER BY e.enumsortorder
    ) AS labels,
    has_column_privilege(%(role)s::name, c.attrelid, c.attnum, 'SELECT') AS readable
FROM pg_attribute AS c
INNER JOIN pg_type AS t ON t.oid = c.atttypid
LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.attrelid AND d.adnum = c.attnum
WHERE
    c.attrelid = ANY (%(relations)s::oid[])
    AND (c.attnum > 0 OR c.attname IN ('xmin', 'tableoid'))
    AND NOT c.attisdropped
ORDER BY c.attrelid, c.attnum
