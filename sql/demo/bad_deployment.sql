-- Which workflow of the month fails for six hours.
-- Takes: since timestamptz. Gives: one row from month_workflows.
SELECT
    organization_id,
    id AS workflow_id,
    %(since)s::timestamptz + incident_since_ms * interval '1 millisecond' AS since,
    %(since)s::timestamptz + incident_until_ms * interval '1 millisecond' AS until
FROM month_workflows
WHERE incident_since_ms IS NOT NULL
