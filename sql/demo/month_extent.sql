-- What the month came to. Takes: organization_ids uuid[]. Gives: one row, counts of workflows, clients and jobs.
SELECT
    (SELECT count(*) FROM orchestration.workflows WHERE organization_id = ANY (%(organization_ids)s)) AS workflows,
    (SELECT count(*) FROM orchestration.clients WHERE organization_id = ANY (%(organization_ids)s)) AS clients,
    (SELECT count(*) FROM orchestration.jobs WHERE organization_id = ANY (%(organization_ids)s)) AS jobs
