-- What is missing of the indexes of execution_logs that are not valid, because partitions lack them.
-- Takes: nothing.
-- Gives: one row per such index and partition: parent (the index), partition, child (what its own index is called),
--        method (what follows the table's name where the index is defined), leftover (whether a build of the child was
--        cut off), built (whether the child is there and valid).
WITH wanted AS (
    SELECT
        i.indexrelid,
        parent.relname::text AS parent,
        p.oid AS partition_oid,
        p.relname::text AS partition,
        left(p.relname || substr(parent.relname, length('execution_logs') + 1), 63) AS child,
        substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$') AS method
    FROM pg_index AS i
    JOIN pg_class AS parent ON parent.oid = i.indexrelid
    JOIN pg_inherits AS part ON part.inhparent = i.indrelid
    JOIN pg_class AS p ON p.oid = part.inhrelid
    WHERE
        i.indrelid = 'orchestration.execution_logs'::regclass
        AND NOT i.indisvalid
        AND NOT i.indisunique
)

SELECT
    w.parent,
    w.partition,
    w.child,
    w.method,
    coalesce(NOT own.indisvalid, FALSE) AS leftover,
    coalesce(own.indisvalid, FALSE) AS built
FROM wanted AS w
LEFT JOIN pg_class AS c
    ON c.relname = w.child AND c.relnamespace = 'orchestration'::regnamespace
LEFT JOIN pg_index AS own ON own.indexrelid = c.oid AND own.indrelid = w.partition_oid
WHERE NOT EXISTS (
    SELECT
    FROM pg_inherits AS attached
    JOIN pg_index AS theirs ON theirs.indexrelid = attached.inhrelid
    WHERE attached.inhparent = w.indexrelid AND theirs.indrelid = w.partition_oid
)
ORDER BY w.parent, w.partition
