-- Whether this role may leave out what a new line sets off, and that is the check of its job and nothing else:
-- no other key, and no trigger of anybody, on the table or on one of its partitions.
-- Takes: key_name text.
-- Gives: one row, alone boolean.
SELECT
    has_parameter_privilege('session_replication_role', 'SET')
    AND NOT EXISTS (
        SELECT
        FROM pg_partition_tree('orchestration.execution_logs') AS tree
        JOIN pg_trigger ON tgrelid = tree.relid
        LEFT JOIN pg_constraint AS key ON key.oid = tgconstraint
        -- Those of a partition that it has from the table have a parent.
        WHERE tgparentid = 0 AND key.conname IS DISTINCT FROM %(key_name)s
    ) AS alone
