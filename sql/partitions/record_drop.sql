-- Remember that a month was dropped, and where its lines are if they were archived.
-- Takes: month_start, month_end timestamptz; archive_reference text, archive_sha256 text and archived_rows bigint, all
--        NULL when it was not archived: an earlier archive stays then.
-- Gives: nothing.
INSERT INTO orchestration.execution_log_months AS known (
    month_start, month_end, archive_reference, archive_sha256, archived_rows, archived_at, dropped_at
)
VALUES (
    %(month_start)s,
    %(month_end)s,
    %(archive_reference)s,
    %(archive_sha256)s,
    %(archived_rows)s,
    CASE WHEN %(archive_reference)s::text IS NOT NULL THEN now() END,
    now()
)
ON CONFLICT (month_start) DO UPDATE SET
    archive_reference = coalesce(excluded.archive_reference, known.archive_reference),
    archive_sha256 = coalesce(excluded.archive_sha256, known.archive_sha256),
    archived_rows = coalesce(excluded.archived_rows, known.archived_rows),
    archived_at = coalesce(excluded.archived_at, known.archived_at),
    dropped_at = excluded.dropped_at
