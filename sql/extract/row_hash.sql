-- Everything about a job that can move a figure, as one number: the expression that reads and digests share.
-- Takes: a job j, its workflow w and its client c, either of them NULL where there is none.
-- Gives: a bigint.
hash_record_extended(
    ROW (
        j.organization_id, j.workflow_id, j.client_id, j.initiator_type::text, j.status::text,
        j.created_at, j.started_at, j.completed_at, j.deleted_at IS NULL, w.organization_id, c.organization_id
    ),
    0
)
