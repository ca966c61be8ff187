-- The end of steps.sql that asks for lines written since their organization's cursor, and for those whose time
-- has come since.
-- Takes: execmetrics.cursors, a JSON array of {organization_id, horizon, due_since}; a horizon of null means every
--        line, and nobody who is not listed is read. execmetrics.latest (timestamptz).
-- Gives: a line l whose xmin is at or past the horizon, on the circle of 32-bit transaction ids, or that was of
--        a future not believed until now.
INNER JOIN (
    SELECT
        known.organization_id,
        known.due_since,
        age((known.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb)
        AS known (organization_id uuid, horizon bigint, due_since timestamptz)
) AS cursors ON cursors.organization_id = l.organization_id
WHERE
    cursors.oldest IS NULL
    OR age(l.xmin) <= cursors.oldest
    OR (l.timestamp > cursors.due_since AND l.timestamp <= (SELECT current_setting('execmetrics.latest')::timestamptz))
