-- Traces on their way into the source.

-- name: copy
-- The rows of one file of a trace. Takes: rows in the binary format of COPY; {table} and {columns} in their places.
-- Gives: nothing that is read.
COPY trace_{table} ({columns}) FROM STDIN (FORMAT binary)

-- name: delete_moved_lines
-- Delete the lines that a trace has at another time now: a line's time is a part of its key.
-- Takes: trace_execution_logs. Gives: nothing that is read.
DELETE FROM orchestration.execution_logs AS l
USING trace_execution_logs AS t
WHERE l.job_id = t.job_id AND l.id = md5(t.job_id || ' ' || t.sequence)::uuid AND l.timestamp <> t.timestamp

-- name: lines
-- The log lines of a trace; their ids are derived, so that the same line of another import is the same row.
-- Takes: trace_execution_logs; the jobs, whose organizations they have, are there already. Gives: a row for each.
SELECT md5(t.job_id || ' ' || t.sequence)::uuid AS id, j.organization_id, t.*
FROM trace_execution_logs AS t
JOIN orchestration.jobs AS j ON j.id = t.job_id

-- name: merge
-- Bring the rows of one file of a trace into the source; rows that are the same already are left alone.
-- Takes, in their places: {table}, its {key}, {rows} (a statement), the columns {written} and their {new_values}, and
-- the columns compared, {stored} and {new}. Gives: the number of rows written.
INSERT INTO orchestration.{table} AS stored ({written})
SELECT {written} FROM ({rows}) AS rows
ON CONFLICT ({key}) DO UPDATE SET ({written}) = ({new_values})
WHERE ({stored}) IS DISTINCT FROM ({new})

-- name: rows
-- The rows of one file of a trace, changed now. Takes: {table} in its place. Gives: a row for each.
SELECT *, now() AS updated_at FROM trace_{table}

-- name: stage
-- A place for the rows of one file before they meet the source's own, gone when the transaction ends.
-- Takes: {table} and {columns} in their places. Gives: nothing that is read.
CREATE TEMPORARY TABLE trace_{table} ON COMMIT DROP AS SELECT {columns} FROM orchestration.{table} WITH NO DATA
