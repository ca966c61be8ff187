-- The jobs that are listed as anomalies.
-- Takes: nothing.
-- Gives: job_id, organization_id, reason.
SELECT job_id, organization_id, reason
FROM analytics.job_anomalies
