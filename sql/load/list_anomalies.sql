-- List what is wrong with these jobs, and keep when it was first seen.
-- Takes: the table staged_anomalies; seen_at timestamptz.
-- Gives: one row per job and reason.
INSERT INTO analytics.job_anomalies AS listed (
    job_id, organization_id, reason, effect, detail, first_seen_at, last_seen_at
)
SELECT job_id, organization_id, reason, effect, detail, %(seen_at)s, %(seen_at)s
FROM staged_anomalies
ORDER BY job_id, reason
ON CONFLICT (job_id, reason) DO UPDATE
SET
    organization_id = excluded.organization_id,
    effect = excluded.effect,
    detail = excluded.detail,
    last_seen_at = excluded.last_seen_at
