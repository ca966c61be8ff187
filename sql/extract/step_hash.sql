-- Everything about a step that can move a figure, as one number: the expression that reads and digests share.
-- Takes: a line l and its job j, NULL where there is none.
-- Gives: a bigint.
hash_record_extended(
    ROW (
        l.organization_id, l.job_id, j.workflow_id, left(l.step_name::text, 200), l.level::text, l.timestamp,
        l.duration_ms::double precision, j.deleted_at IS NULL, j.organization_id
    ),
    0
)
