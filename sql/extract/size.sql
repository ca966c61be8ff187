-- How large the table of jobs is, its partitions included; for a view, what it reads.
-- Takes: nothing; needs no right to read the table.
-- Gives: one row: bytes bigint.
WITH RECURSIVE beneath AS (
    SELECT 'orchestration.jobs'::regclass::oid AS oid
    UNION
    SELECT d.refobjid AS oid
    FROM beneath
    INNER JOIN pg_rewrite AS r ON r.ev_class = beneath.oid AND r.ev_type = '1'
    INNER JOIN pg_depend AS d
        ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
)
SELECT
    coalesce(
        sum(
            coalesce(
                (SELECT sum(pg_table_size(tree.relid)) FROM pg_partition_tree(beneath.oid) AS tree),
                pg_table_size(beneath.oid)
            )
        ),
        0
    )::bigint AS bytes
FROM beneath
