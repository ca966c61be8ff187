-- List what is wrong with these jobs, and keep when it was first seen.
-- Takes: job_ids uuid[], organization_ids uuid[], reasons text[], effects text[], seen_at timestamptz.
-- Gives: one row per job and reason.
INSERT INTO analytics.job_anomalies AS listed (
    job_id, organization_id, reason, effect, first_seen_at, last_seen_at
)
SELECT job_id, organization_id, reason, effect, %(seen_at)s, %(seen_at)s
FROM unnest(%(job_ids)s::uuid[], %(organization_ids)s::uuid[], %(reasons)s::text[], %(effects)s::text[])
    AS found (job_id, organization_id, reason, effect)
ORDER BY job_id, reason
ON CONFLICT (job_id, reason) DO UPDATE
SET organization_id = excluded.organization_id, effect = excluded.effect, last_seen_at = excluded.last_seen_at
