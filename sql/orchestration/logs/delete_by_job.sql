-- Delete one job's log, also if the job is deleted itself.
-- Takes: organization_id uuid, job_id uuid.
-- Gives: one row: lines, how many there were.
WITH gone AS (
    DELETE FROM orchestration.execution_logs
    WHERE organization_id = %(organization_id)s AND job_id = %(job_id)s
    RETURNING id
)

SELECT count(*) AS lines FROM gone
