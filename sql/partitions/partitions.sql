-- The tables that execution_logs is made of.
-- Takes: nothing.
-- Gives: one row per partition: name.
SELECT p.relname::text AS name
FROM pg_inherits
JOIN pg_class AS p ON p.oid = inhrelid
WHERE inhparent = 'orchestration.execution_logs'::regclass
ORDER BY p.relname
