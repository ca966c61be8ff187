-- Which table of logs the source has, and whether this role may read what steps need of it.
-- Takes: execmetrics.step_columns text[], the columns that are needed.
-- Gives: one row: log_table bigint, its oid, NULL when there is none or a column is absent or forbidden.
SELECT
    (
        SELECT t.oid::bigint
        FROM pg_class AS t
        WHERE
            t.oid = to_regclass('orchestration.execution_logs')
            AND has_schema_privilege(t.relnamespace, 'USAGE')
            AND NOT EXISTS (
                SELECT
                FROM unnest(current_setting('execmetrics.step_columns')::text[]) AS wanted (name)
                LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = wanted.name AND NOT c.attisdropped
                WHERE c.attnum IS NULL OR NOT has_column_privilege(t.oid, c.attnum, 'SELECT')
            )
    ) AS log_table
