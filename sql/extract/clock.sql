-- How far the data of this server goes, read before the snapshot so that the snapshot holds all of it.
-- Takes: nothing.
-- Gives: one row: extracted_at timestamptz, the server's clock. On a standby that has not yet replayed what it
--        received, or that receives nothing, it is when the last transaction that it replayed had ended.
SELECT
    CASE
        WHEN
            NOT pg_is_in_recovery()
            OR (
                -- In this order: whatever was received by the second look had been replayed by the first.
                pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()
                AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            )
            THEN statement_timestamp()
        -- A standby that has replayed no transaction since it started goes as far as its last checkpoint.
        ELSE coalesce(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint()))
    END AS extracted_at
