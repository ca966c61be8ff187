-- The lines of one month, in the order of the archive.
-- Takes: execmetrics.since and execmetrics.until (timestamptz) as settings of the transaction, for COPY takes no values.
-- Gives: CSV without a header, in the order of the archive's columns: ids in hexadecimal digits, the timestamp in
--        microseconds since 1970.
COPY (
    SELECT
        encode(uuid_send(id), 'hex'),
        encode(uuid_send(organization_id), 'hex'),
        encode(uuid_send(job_id), 'hex'),
        sequence,
        level::text,
        (extract(EPOCH FROM timestamp) * 1000000)::bigint,
        step_name,
        message,
        duration_ms,
        metadata::text
    FROM orchestration.execution_logs
    WHERE
        timestamp >= current_setting('execmetrics.since')::timestamptz
        AND timestamp < current_setting('execmetrics.until')::timestamptz
    ORDER BY organization_id, job_id, timestamp, sequence, id
) TO STDOUT (FORMAT csv)
