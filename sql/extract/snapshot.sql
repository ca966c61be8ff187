-- What the source looked like when the snapshot was taken, read before any row.
-- Takes: nothing; runs first in a REPEATABLE READ, READ ONLY transaction.
-- Gives: one row: horizon bigint (every transaction below it had ended), incarnation text (which
--        server, history, database and table this is, and what its views say; a standby's are its
--        primary's).
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
    concat_ws(
        '/',
        (SELECT system_identifier FROM pg_control_system()),
        CASE
            -- A standby's control file follows at the next restartpoint; the other source is seen by some roles.
            WHEN pg_is_in_recovery() THEN greatest(
                (SELECT timeline_id FROM pg_control_checkpoint()),
                (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                (SELECT received_tli FROM pg_stat_wal_receiver)
            )
            -- The control file of a server that was just promoted follows at the end of a checkpoint.
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
        END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'orchestration.jobs'::regclass::oid,
        -- A view that says something else makes other rows of the same ones.
        (
            SELECT md5(string_agg(pg_get_viewdef(v.oid), '' ORDER BY v.relname))
            FROM pg_class AS v
            WHERE
                v.relnamespace = 'orchestration'::regnamespace
                AND v.relkind = 'v'
                AND v.relname IN ('organizations', 'workflows', 'clients', 'jobs')
        )
    ) AS incarnation
