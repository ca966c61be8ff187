-- The list of source rows that cannot be taken at face value.

-- name: copy_anomalies
-- Copy anomalies into the staging table.
-- Takes: rows in the binary format, columns in this order.
-- Gives: nothing.
COPY staged_anomalies (job_id, organization_id, reason, effect, detail) FROM STDIN (FORMAT binary)

-- name: jobs_by_anomaly
-- How many jobs are listed for each reason.
-- Takes: nothing.
-- Gives: one row per reason, and one whose reason is NULL with the distinct jobs that are not counted.
SELECT reason, count(DISTINCT job_id) AS jobs
FROM analytics.job_anomalies
GROUP BY reason
UNION ALL
SELECT NULL, count(DISTINCT job_id) FROM analytics.job_anomalies WHERE effect = 'not_counted'

-- name: list_anomalies
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

-- name: listed_anomalies
-- The jobs that are listed as anomalies.
-- Takes: nothing.
-- Gives: job_id, organization_id, reason.
SELECT job_id, organization_id, reason
FROM analytics.job_anomalies

-- name: stage_anomalies
-- Where anomalies wait to be listed; emptied by each commit, gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_anomalies.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_anomalies (
    job_id uuid, organization_id uuid, reason text, effect text, detail text
) ON COMMIT DELETE ROWS

-- name: unlist_anomalies
-- Take jobs off the list whose row has been repaired.
-- Takes: job_ids uuid[] and reasons text[], in the same order.
-- Gives: one row per job and reason.
DELETE FROM analytics.job_anomalies AS listed
USING unnest(%(job_ids)s::uuid[], %(reasons)s::text[]) AS healed (job_id, reason)
WHERE listed.job_id = healed.job_id AND listed.reason = healed.reason
