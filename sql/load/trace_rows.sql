-- The rows of all files of a trace.
-- Takes: lines in the text format of COPY, the columns in this order.
-- Gives: nothing that is read.
COPY trace_rows (
    table_name,
    id,
    organization_id,
    workflow_id,
    client_id,
    name,
    time_zone,
    initiator_type,
    status,
    created_at,
    started_at,
    completed_at,
    deleted_at
) FROM STDIN
