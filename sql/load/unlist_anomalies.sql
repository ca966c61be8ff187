-- Take jobs off the list whose row has been repaired.
-- Takes: the table staged_anomalies.
-- Gives: one row per job and reason.
DELETE FROM analytics.job_anomalies AS listed
USING staged_anomalies AS healed
WHERE listed.job_id = healed.job_id AND listed.reason = healed.reason
