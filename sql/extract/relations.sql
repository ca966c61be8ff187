-- The relations of the contract: the types of their columns, and which of them no version tells the changes of.
-- Takes: nothing.
-- Gives: one row per relation that is there: name, kind, columns (a JSON object of their types by name, of a domain
--        the type below it), read_whole (a phrase; NULL where `xmin` tells what changed, and for a view).
SELECT
    c.relname::text AS name,
    c.relkind::text AS kind,
    (
        SELECT
            json_object_agg(
                a.attname,
                format_type(
                    coalesce((SELECT t.typbasetype FROM pg_type AS t WHERE t.oid = a.atttypid AND t.typtype = 'd'), a.atttypid),
                    NULL
                )
            )::text
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND (a.attnum > 0 OR a.attname = 'xmin') AND NOT a.attisdropped
    ) AS columns,
    CASE
        WHEN c.relkind = 'f' THEN 'it is a foreign table'
        WHEN c.relkind = 'm' THEN 'it is a materialized view'
        WHEN c.relkind = 'r' AND (SELECT m.amname FROM pg_am AS m WHERE m.oid = c.relam) <> 'heap' THEN 'it is no heap'
        WHEN
            c.relhassubclass
            AND EXISTS (
                SELECT
                FROM pg_class AS part
                LEFT JOIN pg_am AS m ON m.oid = part.relam
                WHERE
                    (part.relkind = 'f' OR m.amname <> 'heap')
                    AND (
                        part.oid IN (SELECT tree.relid FROM pg_partition_tree(c.oid) AS tree)
                        OR part.oid IN (SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = c.oid)
                    )
            )
            THEN 'a part of it is a foreign table or no heap'
    END AS read_whole
FROM pg_class AS c
WHERE
    c.relnamespace = to_regnamespace('orchestration')
    AND c.relname IN ('organizations', 'workflows', 'clients', 'jobs', 'execution_logs')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
