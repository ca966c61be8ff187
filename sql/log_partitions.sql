-- Months of execution_logs: partitions and archives.

-- name: archives
-- Every archive of a month of logs.
-- Takes: {lock} in its place: FOR UPDATE, so that nobody else replaces one meanwhile, or nothing.
-- Gives: one row per archive, the oldest month first: reference, rows, since and until (of the month), sha256.
SELECT
    archive_reference AS reference, archived_rows AS rows, month_start AS since, month_end AS until,
    archive_sha256 AS sha256
FROM orchestration.execution_log_months
WHERE archive_reference IS NOT NULL
ORDER BY month_start
{lock}

-- name: attach
-- Make a table the partition of its month: keys, foreign key and indexes come with it.
-- Takes: partition (an identifier), since and until (literals), all in braces. Gives: nothing.
ALTER TABLE orchestration.execution_logs ATTACH PARTITION {partition} FOR VALUES FROM ({since}) TO ({until})

-- name: attach_index
-- Make an index the part of a larger one, which is valid once it has all of its parts.
-- Takes: parent and child (in braces, identifiers). Gives: nothing.
ALTER INDEX {parent} ATTACH PARTITION {child}

-- name: be_brief
-- Wait for no lock longer than this, so that nobody waits long behind us, and a deadlock ends before it is noticed.
-- Takes: patience text. Holds for the transaction. Gives: one row, read for nothing.
SELECT set_config('lock_timeout', %(patience)s, true)

-- name: build_index
-- Build an index on one partition while others write to it; outside of a transaction.
-- Takes: name (an identifier without a schema, for an index has its table's), partition (an identifier), method (as the
--        catalog says it), all in braces. Gives: nothing.
CREATE INDEX CONCURRENTLY {name} ON {partition} {method}

-- name: copy_month
-- The lines of one month, in the order of the archive. Takes: partition (in braces).
-- Gives: CSV without a header, in the order of the archive's columns: ids in hexadecimal digits, the timestamp in
--        microseconds since 1970.
COPY (
    SELECT
        encode(uuid_send(id), 'hex'), encode(uuid_send(organization_id), 'hex'), encode(uuid_send(job_id), 'hex'),
        sequence, level::text, (extract(EPOCH FROM timestamp) * 1000000)::bigint,
        step_name, message, duration_ms, metadata::text
    FROM orchestration.{partition}
    ORDER BY organization_id, job_id, timestamp, sequence, id
) TO STDOUT (FORMAT csv)

-- name: drop
-- Drop a month with its lines. Takes: partition (in braces, an identifier). Gives: nothing.
DROP TABLE {partition}

-- name: drop_index
-- Drop what a build that was cut off has left; outside of a transaction.
-- Takes: child (in braces, an identifier). Gives: nothing.
DROP INDEX CONCURRENTLY {child}

-- name: incomplete_indexes
-- What is missing of the indexes of execution_logs that are not valid, because partitions lack them.
-- Takes: nothing. Gives: one row per such index and partition: parent (the index), partition, child (what its own index
--        is called), method (what follows the table's name where the index is defined), leftover (whether a build of
--        the child was cut off), built (whether the child is there and valid).
WITH wanted AS (
    SELECT
        i.indexrelid, parent.relname::text AS parent, p.oid AS partition_oid, p.relname::text AS partition,
        left(p.relname || substr(parent.relname, length('execution_logs') + 1), 63) AS child,
        substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$') AS method
    FROM pg_index AS i
    JOIN pg_class AS parent ON parent.oid = i.indexrelid
    JOIN pg_inherits AS part ON part.inhparent = i.indrelid
    JOIN pg_class AS p ON p.oid = part.inhrelid
    WHERE i.indrelid = 'orchestration.execution_logs'::regclass AND NOT i.indisvalid AND NOT i.indisunique
)
SELECT
    w.parent, w.partition, w.child, w.method,
    coalesce(NOT own.indisvalid, FALSE) AS leftover, coalesce(own.indisvalid, FALSE) AS built
FROM wanted AS w
LEFT JOIN pg_class AS c ON c.relname = w.child AND c.relnamespace = 'orchestration'::regnamespace
LEFT JOIN pg_index AS own ON own.indexrelid = c.oid AND own.indrelid = w.partition_oid
WHERE NOT EXISTS (
    SELECT
    FROM pg_inherits AS attached
    JOIN pg_index AS theirs ON theirs.indexrelid = attached.inhrelid
    WHERE attached.inhparent = w.indexrelid AND theirs.indrelid = w.partition_oid
)
ORDER BY w.parent, w.partition

-- name: lock
-- Keep others waiting for a table, but not for its partitions. Takes: table (an identifier), mode (of a lock, with MODE,
-- and NOWAIT if nobody is waited for), both in braces. Gives: nothing.
LOCK TABLE ONLY {table} IN {mode}

-- name: make
-- A table for the lines of one month, not yet a partition. Takes: partition (in braces, an identifier). Gives: nothing.
CREATE TABLE {partition} (
    LIKE orchestration.execution_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION
)

-- name: months_without
-- The months of lines for which there is no partition.
-- Takes: nothing. Gives: one row per month in UTC: year, number, lines (how many they are).
SELECT
    extract(YEAR FROM timestamp AT TIME ZONE 'UTC')::integer AS year,
    extract(MONTH FROM timestamp AT TIME ZONE 'UTC')::integer AS number,
    count(*) AS lines
FROM orchestration.execution_logs_default
GROUP BY 1, 2
ORDER BY 1, 2

-- name: move
-- Move the lines of one month out of the partition for whatever has none.
-- Takes: partition (an identifier), since and until (literals), all in braces. Gives: the number of lines moved.
WITH moved AS (
    DELETE FROM orchestration.execution_logs_default
    WHERE timestamp >= {since} AND timestamp < {until}
    RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved

-- name: partitions
-- The tables that execution_logs is made of. Takes: nothing. Gives: one row per partition: name.
SELECT p.relname::text AS name
FROM pg_inherits
JOIN pg_class AS p ON p.oid = inhrelid
WHERE inhparent = 'orchestration.execution_logs'::regclass
ORDER BY p.relname

-- name: record_drop
-- Remember that a month was dropped, and where its lines are if they were archived.
-- Takes: since and until timestamptz (of the month); reference text, sha256 text and rows bigint, all NULL when it was not
--        archived: an earlier archive stays then. Gives: nothing.
INSERT INTO orchestration.execution_log_months AS known (
    month_start, month_end, archive_reference, archive_sha256, archived_rows, archived_at, dropped_at
)
VALUES (
    %(since)s, %(until)s, %(reference)s, %(sha256)s, %(rows)s,
    CASE WHEN %(reference)s::text IS NOT NULL THEN now() END, now()
)
ON CONFLICT (month_start) DO UPDATE SET
    archive_reference = coalesce(excluded.archive_reference, known.archive_reference),
    archive_sha256 = coalesce(excluded.archive_sha256, known.archive_sha256),
    archived_rows = coalesce(excluded.archived_rows, known.archived_rows),
    archived_at = coalesce(excluded.archived_at, known.archived_at),
    dropped_at = excluded.dropped_at

-- name: replace_archive
-- From now on the lines of a month are in another archive.
-- Takes: since timestamptz (of the month), reference text, sha256 text, rows bigint. Gives: nothing.
UPDATE orchestration.execution_log_months
SET archive_reference = %(reference)s, archive_sha256 = %(sha256)s, archived_rows = %(rows)s, archived_at = now()
WHERE month_start = %(since)s

-- name: standing
-- Whose execution_logs are, if there are any; asked of the catalog, which everybody may read.
-- Takes: nothing. Gives: one row of booleans: present, partitioned (by month, as ours are: with their months beside
--        them), owned (by this role).
SELECT
    count(*) FILTER (WHERE relname = 'execution_logs') = 1 AS present,
    count(*) FILTER (
        WHERE (relname, relkind) IN (('execution_logs', 'p'), ('execution_logs_default', 'r'), ('execution_log_months', 'r'))
    ) = 3 AS partitioned,
    coalesce(bool_and(pg_has_role(relowner, 'USAGE')), FALSE) AS owned
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE
    nspname = 'orchestration' AND relname IN ('execution_logs', 'execution_logs_default', 'execution_log_months')

-- name: take_turns
-- Let one at a time make or drop partitions; the lock ends with the transaction.
-- Takes: nothing. Gives: one row, read for nothing.
SELECT pg_advisory_xact_lock(hashtextextended('execmetrics log partitions', 0))
