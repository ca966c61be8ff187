-- A page of the lines of one level in one job's log, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, since and until timestamptz; after_timestamp
--        timestamptz, after_sequence integer, after_id uuid (the last line that was taken; its timestamp is `until`
--        when none was); rows bigint (how many at most); level text.
-- Gives: the lines, without their organization.
SELECT
    id,
    job_id,
    sequence,
    level::text AS level,
    timestamp,
    step_name,
    message,
    duration_ms,
    metadata
FROM ({visible}) AS lines
WHERE
    level = %(level)s::orchestration.log_level
    -- Comparing rows finds a place in an index, and prunes no partition: a time by itself does.
    AND timestamp <= %(after_timestamp)s
    AND (timestamp, sequence, id) < (%(after_timestamp)s, %(after_sequence)s, %(after_id)s)
ORDER BY timestamp DESC, sequence DESC, id DESC
LIMIT %(rows)s
