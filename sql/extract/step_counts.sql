-- Whether a line is a step that counts: the expression that reads and digests share.
-- Takes: a line l and its job j, NULL where there is none; the first and the last moment believed,
--        execmetrics.earliest and .latest (timestamptz); execmetrics.reserved_ids uuid[].
-- Gives: a boolean, or NULL for no.
(
    l.step_name::text <> ''
    AND l.level::text IN ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL')
    AND j.organization_id = l.organization_id
    AND j.deleted_at IS NULL
    AND j.workflow_id <> ALL ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])
    AND l.timestamp >= greatest((SELECT current_setting('execmetrics.earliest')::timestamptz), '0001-01-01Z')
    AND l.timestamp <= (SELECT current_setting('execmetrics.latest')::timestamptz)
    AND l.timestamp < '10000-01-01Z'
)
