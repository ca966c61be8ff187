-- The indexes of some relations.
-- Takes: relations bigint[], their oids.
-- Gives: one row per index: relation, name, begins_with (its first column, NULL for an expression), valid (false
--        for one that was not finished, or that holds a part of the rows only).
SELECT
    i.indrelid::bigint AS relation,
    c.relname::text AS name,
    a.attname::text AS begins_with,
    i.indisvalid AND i.indpred IS NULL AS valid
FROM pg_index AS i
INNER JOIN pg_class AS c ON c.oid = i.indexrelid
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attnum > 0
WHERE i.indrelid = ANY (%(relations)s::oid[])
ORDER BY 1, 2
