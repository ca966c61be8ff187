-- Which statuses jobs really have that the contract does not know.
-- Takes: in their places, {jobs} (a relation), {status} (its column) and {known} (an array of texts).
-- Gives: one row per such status, the most frequent first: label, jobs.
SELECT
    j.{status}::text AS label,
    count(*) AS jobs
FROM {jobs} AS j
WHERE j.{status}::text <> ALL ({known})
GROUP BY 1
ORDER BY 2 DESC, 1
