-- Months of execution_logs: partitions and archives.

-- name: archives
-- Every archive of a month of logs.
-- Takes: nothing.
-- Gives: one row per archive, the oldest month first: month_start, month_end, archive_reference, archived_rows,
--        archive_sha256.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows,
    archive_sha256
FROM orchestration.execution_log_months
WHERE archive_reference IS NOT NULL
ORDER BY month_start

-- name: attach
-- Make a table the partition of its month: keys, foreign key and indexes come with it.
-- Takes: partition (an identifier), since and until (literals), all in braces.
-- Gives: nothing.
ALTER TABLE orchestration.execution_logs ATTACH PARTITION {partition} FOR VALUES FROM ({since}) TO ({until})

-- name: attach_index
-- Make an index the part of a larger one, which is valid once it has all of its parts.
-- Takes: parent and child (in braces, identifiers).
-- Gives: nothing.
ALTER INDEX {parent} ATTACH PARTITION {child}

-- name: be_brief
-- Wait for no lock longer than this, so that nobody waits long behind us, and a deadlock ends before it is noticed.
-- Takes: patience text. Holds for the transaction.
-- Gives: one row, read for nothing.
SELECT set_config('lock_timeout', %(patience)s, true)

-- name: build_index
-- Build an index on one partition while others write to it; outside of a transaction.
-- Takes: name (an identifier without a schema, for an index has its table's), partition (an identifier), method (as the
--        catalog says it), all in braces.
-- Gives: nothing.
CREATE INDEX CONCURRENTLY {name} ON {partition} {method}

-- name: copy_month
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

-- name: drop
-- Drop a month with its lines.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
DROP TABLE {partition}

-- name: drop_index
-- Drop what a build that was cut off has left; outside of a transaction.
-- Takes: child (in braces, an identifier).
-- Gives: nothing.
DROP INDEX CONCURRENTLY {child}

-- name: earlier_archive
-- The archive that a month has already, if lines of it came after it was dropped.
-- Takes: month_start timestamptz.
-- Gives: one row or none: month_start, month_end, archive_reference, archived_rows.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows
FROM orchestration.execution_log_months
WHERE month_start = %(month_start)s AND archive_reference IS NOT NULL

-- name: hold_default
-- Keep everybody waiting who looks for lines without a month.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.execution_logs_default IN ACCESS EXCLUSIVE MODE

-- name: hold_everybody
-- Keep readers and writers of logs waiting, if just now there are none.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE ONLY orchestration.execution_logs IN ACCESS EXCLUSIVE MODE NOWAIT

-- name: hold_jobs
-- Keep writers of jobs waiting: a partition that is added is added to the foreign key as well.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.jobs IN SHARE ROW EXCLUSIVE MODE

-- name: hold_month
-- Keep writers of one month waiting, and no readers.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
LOCK TABLE {partition} IN SHARE ROW EXCLUSIVE MODE

-- name: hold_writers
-- Keep writers of logs waiting, and no readers: whoever writes next finds the partition.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE ONLY orchestration.execution_logs IN EXCLUSIVE MODE

-- name: incomplete_indexes
-- What is missing of the indexes of execution_logs that are not valid, because partitions lack them.
-- Takes: nothing.
-- Gives: one row per such index and partition: parent (the index), partition, child (what its own index is called),
--        method (what follows the table's name where the index is defined), leftover (whether a build of the child was
--        cut off), built (whether the child is there and valid).
WITH wanted AS (
    SELECT
        i.indexrelid,
        parent.relname::text AS parent,
        p.oid AS partition_oid,
        p.relname::text AS partition,
        left(p.relname || substr(parent.relname, length('execution_logs') + 1), 63) AS child,
        substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$') AS method
    FROM pg_index AS i
    JOIN pg_class AS parent ON parent.oid = i.indexrelid
    JOIN pg_inherits AS part ON part.inhparent = i.indrelid
    JOIN pg_class AS p ON p.oid = part.inhrelid
    WHERE
        i.indrelid = 'orchestration.execution_logs'::regclass
        AND NOT i.indisvalid
        AND NOT i.indisunique
)

SELECT
    w.parent,
    w.partition,
    w.child,
    w.method,
    coalesce(NOT own.indisvalid, FALSE) AS leftover,
    coalesce(own.indisvalid, FALSE) AS built
FROM wanted AS w
LEFT JOIN pg_class AS c
    ON c.relname = w.child AND c.relnamespace = 'orchestration'::regnamespace
LEFT JOIN pg_index AS own ON own.indexrelid = c.oid AND own.indrelid = w.partition_oid
WHERE NOT EXISTS (
    SELECT
    FROM pg_inherits AS attached
    JOIN pg_index AS theirs ON theirs.indexrelid = attached.inhrelid
    WHERE attached.inhparent = w.indexrelid AND theirs.indrelid = w.partition_oid
)
ORDER BY w.parent, w.partition

-- name: lines_without
-- How many lines are in no partition of a month.
-- Takes: nothing.
-- Gives: one row: lines bigint.
SELECT count(*) AS lines FROM orchestration.execution_logs_default

-- name: lock_archive
-- Every archive of lines, locked so that nobody else replaces one meanwhile.
-- Takes: nothing; an archive holds the lines of every organization.
-- Gives: one row per month: month_start, month_end, archive_reference, archived_rows.
SELECT
    month_start,
    month_end,
    archive_reference,
    archived_rows
FROM orchestration.execution_log_months
WHERE dropped_at IS NOT NULL AND archive_reference IS NOT NULL
ORDER BY month_start
FOR UPDATE

-- name: make
-- A table for the lines of one month, not yet a partition.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
CREATE TABLE {partition} (
    LIKE orchestration.execution_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION
)

-- name: months_without
-- The months of lines for which there is no partition.
-- Takes: nothing.
-- Gives: one row per month in UTC: year, number.
SELECT DISTINCT
    extract(YEAR FROM timestamp AT TIME ZONE 'UTC')::integer AS year,
    extract(MONTH FROM timestamp AT TIME ZONE 'UTC')::integer AS number
FROM orchestration.execution_logs_default
ORDER BY 1, 2

-- name: move
-- Move the lines of one month out of the partition for whatever has none.
-- Takes: partition (an identifier), since and until (literals), all in braces.
-- Gives: the number of lines moved.
WITH moved AS (
    DELETE FROM orchestration.execution_logs_default
    WHERE timestamp >= {since} AND timestamp < {until}
    RETURNING *
)

INSERT INTO {partition} SELECT * FROM moved

-- name: partitions
-- The tables that execution_logs is made of.
-- Takes: nothing.
-- Gives: one row per partition: name.
SELECT p.relname::text AS name
FROM pg_inherits
JOIN pg_class AS p ON p.oid = inhrelid
WHERE inhparent = 'orchestration.execution_logs'::regclass
ORDER BY p.relname

-- name: record_drop
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

-- name: replace_archive
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

-- name: standing
-- Whose execution_logs are, if there are any; asked of the catalog, which everybody may read.
-- Takes: nothing.
-- Gives: one row of booleans: present, partitioned (by month, as ours are: with their months beside them), owned (by
--        this role).
SELECT
    count(*) FILTER (WHERE relname = 'execution_logs') = 1 AS present,
    count(*) FILTER (
        WHERE (relname, relkind) IN (('execution_logs', 'p'), ('execution_logs_default', 'r'), ('execution_log_months', 'r'))
    ) = 3 AS partitioned,
    coalesce(bool_and(pg_has_role(relowner, 'USAGE')), FALSE) AS owned
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE
    nspname = 'orchestration'
    AND relname IN ('execution_logs', 'execution_logs_default', 'execution_log_months')

-- name: take_turns
-- Let one at a time make or drop partitions; the lock ends with the transaction.
-- Takes: nothing.
-- Gives: one row, read for nothing.
SELECT pg_advisory_xact_lock(hashtextextended('execmetrics log partitions', 0))

-- name: apply_keys
-- Apply the keys to new rows, or leave them out ('replica', which takes a privilege), until the transaction ends.
-- Takes: role text, 'origin' or 'replica'.
-- Gives: nothing that is read.
SELECT set_config('session_replication_role', %(role)s, true)

-- name: copy_lines
-- New lines of logs.
-- Takes: rows in the binary format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY orchestration.execution_logs (
    id, organization_id, job_id, sequence, timestamp, duration_ms, level, step_name, message, metadata
) FROM STDIN (FORMAT binary)

-- name: key_is_alone
-- Whether this role may leave out what a new line sets off, and that is the check of its job, everywhere, and nothing
-- else: no other key of the table and no trigger of anybody, on the table or on one of its partitions. Our sessions
-- are read committed, so that it is true when they write.
-- Takes: key_name text.
-- Gives: one row, alone boolean.
SELECT
    has_parameter_privilege('session_replication_role', 'SET')
    AND NOT EXISTS (
        SELECT
        FROM pg_partition_tree('orchestration.execution_logs') AS tree
        JOIN pg_trigger ON tgrelid = tree.relid
        LEFT JOIN pg_constraint AS key ON key.oid = tgconstraint
        WHERE
            -- Those that an INSERT fires.
            tgtype & 4 <> 0
            AND (
                tgenabled <> 'O'
                OR tgdeferrable
                -- What a partition has from the table has a parent.
                OR tgparentid = 0 AND (tree.level > 0 OR key.conname IS DISTINCT FROM %(key_name)s)
            )
    ) AS alone

-- name: lock_keys
-- Keep keys and triggers of the logs as they are until the transaction ends; other writers are not in the way.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.execution_logs IN ROW EXCLUSIVE MODE
