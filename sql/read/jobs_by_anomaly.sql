-- How many jobs are listed for each reason.
-- Takes: nothing.
-- Gives: one row per reason, and one whose reason is NULL with the distinct jobs that are not counted.
SELECT reason, count(DISTINCT job_id) AS jobs
FROM analytics.job_anomalies
GROUP BY reason
UNION ALL
SELECT NULL, count(DISTINCT job_id) FROM analytics.job_anomalies WHERE effect = 'not_counted'
