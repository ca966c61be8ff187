-- A place for the rows of a trace before they meet the source's own, gone when the transaction ends.
-- Takes: nothing.
-- Gives: nothing that is read.
CREATE TEMPORARY TABLE trace_rows (
    table_name text NOT NULL,
    id uuid NOT NULL,
    organization_id uuid NOT NULL,
    workflow_id uuid,
    client_id uuid,
    name text,
    time_zone text,
    initiator_type text,
    status text,
    created_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    deleted_at timestamptz
) ON COMMIT DROP
