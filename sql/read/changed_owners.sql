-- Which of these workflows or clients belonged to another organization when their names were last copied.
-- Takes: kind text (`workflows` or `clients`), ids uuid[], organization_ids uuid[].
-- Gives: one row for each that changed hands: id, organization_id (the former owner).
SELECT copied.id, copied.organization_id
FROM unnest(%(ids)s::uuid[], %(organization_ids)s::uuid[]) AS source (id, organization_id)
INNER JOIN (
    SELECT id, organization_id FROM analytics.workflows WHERE %(kind)s = 'workflows'
    UNION ALL
    SELECT id, organization_id FROM analytics.clients WHERE %(kind)s = 'clients'
) AS copied USING (id)
WHERE copied.organization_id <> source.organization_id
