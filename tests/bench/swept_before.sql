-- The sweep as it was before it counted: the jobs written since a horizon, told by the text of xmin.
-- Takes: horizon.
-- Gives: one row per changed job: id.
SELECT j.id
FROM orchestration.jobs AS j
LEFT JOIN orchestration.workflows AS w ON w.id = j.workflow_id
LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
LEFT JOIN (SELECT o.id AS organization_id, %(horizon)s::bigint AS horizon FROM orchestration.organizations AS o) AS cursors
    ON cursors.organization_id = j.organization_id
WHERE
    ((j.xmin::text::bigint - %(horizon)s::bigint) & 4294967295) < 2147483648
    AND ((j.xmin::text::bigint - cursors.horizon) & 4294967295) < 2147483648
