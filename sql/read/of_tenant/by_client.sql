-- One tenant's figures over a range for each of its clients in use, and for the jobs without one if there are any,
-- those that take longest first.
-- Takes: what summed.sql does, which is put in place of {summed}; client_id is NULL, the others are not.
-- Gives: one row per client: the columns of asked, which (its id, or no_client), name (may be NULL), and the columns
--        of figures, NULL when nothing was counted. Without clients one row, in which which is NULL.
WITH {summed},
known AS (
    SELECT id, name
    FROM analytics.clients
    WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
    UNION ALL
    SELECT client_id, NULL
    FROM figures
    WHERE client_id = %(no_client)s
)
SELECT asked.*, known.id AS which, known.name, figures.*
FROM asked
LEFT JOIN known ON true
LEFT JOIN figures ON figures.client_id = known.id
ORDER BY figures.average_duration_ms DESC NULLS LAST, known.name, known.id
