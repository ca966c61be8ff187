-- Whether this role may leave out what a new line sets off, and that is the check of its job, everywhere, and nothing
-- else: no other key of the table and no trigger of anybody, on the table or on one of its partitions. Our sessions
-- are read committed, so that it is true when they write.
-- Takes: key_name text.
-- Gives: one row, alone boolean.
SELECT
    has_parameter_privilege('session_replication_role', 'SET')
    AND NOT EXISTS (
        SELECT
        FROM pg_partition_tree('orchestration.execution_logs') AS tree
        JOIN pg_trigger ON tgrelid = tree.relid
        LEFT JOIN pg_constraint AS key ON key.oid = tgconstraint
        WHERE
            -- Those that an INSERT fires.
            tgtype & 4 <> 0
            AND (
                tgenabled <> 'O'
                OR tgdeferrable
                -- What a partition has from the table has a parent.
                OR tgparentid = 0 AND (tree.level > 0 OR key.conname IS DISTINCT FROM %(key_name)s)
            )
    ) AS alone
