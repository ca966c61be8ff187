-- The end of jobs.sql that asks for the jobs of workflows and of clients.
-- Takes: execmetrics.workflow_ids and execmetrics.client_ids, uuid[].
-- Gives: a job j that has such a workflow, or such a client, whoever owns any of them.
WHERE
    j.workflow_id IN (SELECT unnest(current_setting('execmetrics.workflow_ids')::uuid[]))
    OR j.client_id IN (SELECT unnest(current_setting('execmetrics.client_ids')::uuid[]))
