-- Whose execution_logs are, if there are any.
-- Takes: nothing.
-- Gives: one row of booleans: present, partitioned (by month, as ours are: with their months beside them), owned (by
--        this role).
SELECT
    t.oid IS NOT NULL AS present,
    coalesce(
        t.relkind = 'p'
        AND to_regclass('orchestration.execution_logs_default') IS NOT NULL
        AND to_regclass('orchestration.execution_log_months') IS NOT NULL,
        FALSE
    ) AS partitioned,
    coalesce(pg_has_role(t.relowner, 'USAGE'), FALSE) AS owned
FROM (SELECT to_regclass('orchestration.execution_logs') AS oid) AS named
LEFT JOIN pg_class AS t ON t.oid = named.oid
