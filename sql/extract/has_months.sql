-- Whether the source keeps a record of dropped months of logs that this role may read.
-- Takes: nothing.
-- Gives: one row: has_months boolean.
SELECT coalesce(has_column_privilege(to_regclass('orchestration.execution_log_months'), 'dropped_at', 'SELECT'), false)
    AS has_months
