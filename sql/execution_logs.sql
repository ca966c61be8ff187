-- Lines of execution_logs.

-- name: archived_months
-- In which archives lines of one job may be, for a job that may be seen.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since timestamptz (inclusive), until timestamptz
--        (exclusive). Gives: one row per month, the newest first, as log_partitions/archives does.
SELECT
    archive_reference AS reference, archived_rows AS rows, month_start AS since, month_end AS until,
    archive_sha256 AS sha256
FROM orchestration.execution_log_months
WHERE
    dropped_at IS NOT NULL AND archive_reference IS NOT NULL
    AND month_start < %(until)s AND month_end > %(since)s
    AND EXISTS ({visible_job})
ORDER BY month_start DESC

-- name: copy_lines
-- New lines of one tenant's logs; the key of each line checks whose its job is.
-- Takes: rows in the binary format of COPY, the columns in this order. Gives: nothing that is read.
COPY orchestration.execution_logs (
    id, organization_id, job_id, sequence, timestamp, duration_ms, level, step_name, message, metadata
) FROM STDIN (FORMAT binary)

-- name: delete_by_job
-- Delete one job's log, also if the job is deleted itself.
-- Takes: organization_id uuid, job_id uuid. Gives: one row: lines, how many there were.
WITH gone AS (
    DELETE FROM orchestration.execution_logs
    WHERE organization_id = %(organization_id)s AND job_id = %(job_id)s
    RETURNING id
)
SELECT count(*) AS lines FROM gone

-- name: find_page
-- A page of one job's log, the newest lines first.
-- Takes: what `visible` takes; after_timestamp timestamptz, after_sequence integer, after_id uuid (the last line that was
--        taken; its timestamp is `until` when none was); rows bigint (how many at most); {wanted} in its place: one of
--        the conditions below. Gives: the lines, without their organization.
SELECT id, job_id, sequence, level, timestamp, step_name, message, duration_ms, metadata
FROM ({visible}) AS lines
WHERE
    -- Comparing rows finds a place in an index, and prunes no partition: a time by itself does.
    timestamp <= %(after_timestamp)s
    AND (timestamp, sequence, id) < (%(after_timestamp)s, %(after_sequence)s, %(after_id)s)
    AND {wanted}
ORDER BY timestamp DESC, sequence DESC, id DESC
LIMIT %(rows)s

-- name: of_any_level
-- Every line. Takes: nothing. Gives: a condition of `find_page`.
true

-- name: of_one_level
-- Lines of one level. Takes: level text. Gives: a condition of `find_page`.
level = %(level)s::orchestration.log_level

-- name: of_problems
-- What went wrong. The index of problems is used for these words alone. Takes: level text (WARN or a graver one).
-- Gives: a condition of `find_page`.
level >= 'WARN'::orchestration.log_level AND level >= %(level)s::orchestration.log_level

-- name: get_level_counts
-- How many lines of each level one job's log has.
-- Takes: what `visible` takes. Gives: one row per level that has a line: level, lines.
SELECT level::text AS level, count(*) AS lines FROM ({visible}) AS lines GROUP BY level

-- name: visible
-- The lines that every statement about one job's log begins with; those of a deleted job are not there.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since timestamptz (inclusive), until timestamptz
--        (exclusive). Gives: the columns of orchestration.execution_logs.
SELECT * FROM orchestration.execution_logs
WHERE
    organization_id = %(organization_id)s
    AND job_id = %(job_id)s
    AND timestamp >= %(since)s AND timestamp < %(until)s
    AND EXISTS ({visible_job})

-- name: visible_job
-- Whether one job of a tenant may be seen.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid. Gives: an empty row, or none.
SELECT FROM orchestration.jobs
WHERE
    id = %(job_id)s AND organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)
