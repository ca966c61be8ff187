-- The jobs that are listed as anomalies.
-- Takes: organization_ids uuid[], NULL for all.
-- Gives: job_id, reason.
SELECT job_id, reason
FROM analytics.job_anomalies
WHERE %(organization_ids)s::uuid[] IS NULL OR organization_id = any(%(organization_ids)s::uuid[])
