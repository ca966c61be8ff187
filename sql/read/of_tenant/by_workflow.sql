-- One tenant's figures over a range for each of its workflows in use, those that take longest first.
-- Takes: what summed.sql does, which is put in place of {summed}; workflow_id is NULL, the others are not.
-- Gives: one row per workflow: the columns of asked, which (its id), name (may be NULL), and the columns of figures,
--        NULL when nothing was counted. Without workflows one row, in which which is NULL.
WITH {summed},
known AS (
    SELECT id, name, true AS listed
    FROM analytics.workflows
    WHERE organization_id = %(organization_id)s AND deleted_at IS NULL
)
SELECT asked.*, listed.*
FROM asked
LEFT JOIN (
    SELECT known.id AS which, known.name, figures.*
    FROM known
    -- No nested loop, as in summed.sql.
    FULL JOIN figures ON figures.workflow_id = known.id
    WHERE coalesce(known.listed, false)
) AS listed ON true
ORDER BY listed.average_duration_ms DESC NULLS LAST, listed.name, listed.which
