-- Whose execution_logs are, if there are any; asked of the catalog, which everybody may read.
-- Takes: nothing.
-- Gives: one row of booleans: present, partitioned (by month, as ours are: with their months beside them), owned (by
--        this role).
SELECT
    count(*) FILTER (WHERE relname = 'execution_logs') = 1 AS present,
    count(*) FILTER (
        WHERE (relname, relkind) IN (('execution_logs', 'p'), ('execution_logs_default', 'r'), ('execution_log_months', 'r'))
    ) = 3 AS partitioned,
    coalesce(bool_and(pg_has_role(relowner, 'USAGE')), FALSE) AS owned
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE
    nspname = 'orchestration'
    AND relname IN ('execution_logs', 'execution_logs_default', 'execution_log_months')
