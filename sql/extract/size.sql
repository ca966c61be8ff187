-- How large the table of jobs is, its partitions included.
-- Takes: nothing; needs no right to read the table.
-- Gives: one row: bytes bigint, 0 for a view.
SELECT
    coalesce(
        (SELECT sum(pg_table_size(tree.relid)) FROM pg_partition_tree('orchestration.jobs') AS tree),
        pg_table_size('orchestration.jobs')
    )::bigint AS bytes
