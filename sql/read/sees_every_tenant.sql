-- Whether this role is shown every organization's rows, whoever it says it is: it may write them, or obeys no policy.
-- Takes: nothing.
-- Gives: one row: sees_every_tenant.
SELECT
    coalesce(has_table_privilege(to_regclass('analytics.aggregate_metrics'), 'INSERT'), false)
    OR (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user) AS sees_every_tenant
