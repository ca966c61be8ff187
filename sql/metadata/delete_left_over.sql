-- Delete the metadata of jobs that are gone: a foreign key does so by itself, unless it was switched off.
-- Takes: organization_ids uuid[].
-- Gives: nothing; the number of rows deleted is what counts.
DELETE FROM orchestration.execution_metadata AS m
WHERE
    m.organization_id = ANY(%(organization_ids)s)
    AND NOT EXISTS (SELECT FROM orchestration.jobs AS j WHERE j.id = m.job_id)
