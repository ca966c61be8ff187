-- What the source looked like when the snapshot was taken, read before any row.
-- Takes: nothing; runs first in a REPEATABLE READ, READ ONLY transaction.
-- Gives: one row: horizon bigint (every transaction below it had ended), incarnation text (which
--        server, history, database and table this is), extracted_at timestamptz (the source's clock).
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
    concat_ws(
        '/',
        (SELECT system_identifier FROM pg_control_system()),
        (SELECT timeline_id FROM pg_control_checkpoint()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'orchestration.jobs'::regclass::oid
    ) AS incarnation,
    now() AS extracted_at
