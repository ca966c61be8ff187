-- From now on the lines of a month are in another archive.
-- Takes: month_start timestamptz, archive_reference text, archive_sha256 text, archived_rows bigint.
-- Gives: nothing.
UPDATE orchestration.execution_log_months
SET
    archive_reference = %(archive_reference)s,
    archive_sha256 = %(archive_sha256)s,
    archived_rows = %(archived_rows)s,
    archived_at = now()
WHERE month_start = %(month_start)s
