-- The end of jobs.sql that asks for jobs by their ids.
-- Takes: execmetrics.job_ids uuid[], not too many at once.
-- Gives: a job j with such an id, found by the primary key.
WHERE j.id IN (SELECT unnest(current_setting('execmetrics.job_ids')::uuid[]))
