-- Which functions that a refresh calls a role may not call, or the server does not have.
-- Takes: role text (whose rights).
-- Gives: one row per such function: signature text, present boolean.
SELECT
    needed.signature,
    to_regprocedure(needed.signature) IS NOT NULL AS present
FROM
    unnest(
        ARRAY[
            'hash_record_extended(record, bigint)', 'pg_control_system()', 'pg_control_checkpoint()',
            'pg_control_recovery()', 'pg_walfile_name(pg_lsn)', 'pg_current_wal_lsn()', 'pg_is_in_recovery()',
            'pg_current_snapshot()', 'pg_snapshot_xmin(pg_snapshot)'
        ]
    ) AS needed (signature)
WHERE NOT coalesce(has_function_privilege(%(role)s::name, to_regprocedure(needed.signature)::oid, 'EXECUTE'), false)
ORDER BY needed.signature
