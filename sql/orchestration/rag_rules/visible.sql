-- The rows that every statement about one tenant's rules begins with; those of a deleted job are deleted as well.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.execution_rag_rules.
SELECT rag_rules.*
FROM orchestration.execution_rag_rules AS rag_rules
WHERE
    rag_rules.organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR rag_rules.deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = rag_rules.job_id)
    )
