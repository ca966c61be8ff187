-- Take jobs off the list whose row has been repaired.
-- Takes: job_ids uuid[], reasons text[].
-- Gives: nothing that is read.
DELETE FROM analytics.job_anomalies AS listed
USING unnest(%(job_ids)s::uuid[], %(reasons)s::text[]) AS healed (job_id, reason)
WHERE listed.job_id = healed.job_id AND listed.reason = healed.reason
