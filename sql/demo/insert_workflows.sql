-- Write the month's workflows into the source.
-- Takes: since timestamptz. Gives: how many it wrote.
INSERT INTO orchestration.workflows (id, organization_id, name, created_at, updated_at)
SELECT id, organization_id, name, %(since)s::timestamptz, %(since)s::timestamptz
FROM month_workflows
ORDER BY organization_id, id
