-- Jobs, workflows, screenshots and retrieved rules of one tenant; blobs; and what these share.

-- name: how_it_ended
-- How a transaction ended whose connection was lost. Takes: id text.
-- Gives: one row: status text, which is committed, aborted, in progress, or NULL when the server no longer knows.
SELECT pg_xact_status(%(id)s::xid8) AS status

-- name: record_access
-- Say who is about to read rows of a tenant that may hold personal health data, and why.
-- Takes: organization_id uuid, accessed_by text, accessed text (the table, and the column if it is one), job_id uuid (may
--        be NULL), purpose text. Gives: nothing.
INSERT INTO orchestration.phi_access_log (organization_id, accessed_by, accessed, job_id, purpose)
VALUES (%(organization_id)s, %(accessed_by)s, %(accessed)s, %(job_id)s, %(purpose)s)

-- name: this_transaction
-- By which id the server will remember how this transaction ended.
-- Takes: nothing. Gives: one row: id text, NULL while the transaction has written nothing.
SELECT pg_current_xact_id_if_assigned()::text AS id

-- name: find_row
-- One row of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, key uuid; {visible}, {columns} and {key} in their places.
-- Gives: one row or none: the columns.
SELECT {columns} FROM ({visible}) AS visible_rows WHERE {key} = %(key)s

-- name: find_page
-- A tenant's rows, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, after_captured_at timestamptz and after_id uuid (the place of
--        the last row that was taken, NULL for none), rows bigint (how many at most); {visible} and {columns} in their
--        places, and as {of_job} a condition that takes job_id uuid, or true. Gives: the columns of each.
SELECT {columns}
FROM ({visible}) AS visible_rows
WHERE
    {of_job} AND (
        %(after_captured_at)s::timestamptz IS NULL
        OR (captured_at, id) < (%(after_captured_at)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY captured_at DESC, id DESC
LIMIT %(rows)s

-- name: delete_row
-- Soft-delete one row of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), key uuid; {visible}, {table} and {key} in their places.
-- Gives: one row, the key, or none when it is not there.
UPDATE orchestration.{table} SET deleted_at = now(), updated_at = now()
WHERE {key} IN (SELECT {key} FROM ({visible}) AS visible_rows WHERE {key} = %(key)s)
RETURNING {key}

-- name: visible
-- The rows that every statement about one tenant's jobs, or workflows, begins with.
-- Takes: organization_id uuid, include_deleted boolean; {table} in its place. Gives: the columns of the table.
SELECT * FROM orchestration.{table}
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)

-- name: visible_of_jobs
-- The same for what belongs to a job, which is deleted with its job.
-- Takes: organization_id uuid, include_deleted boolean; {table} in its place. Gives: the columns of the table.
SELECT * FROM orchestration.{table} AS owned
WHERE
    organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = owned.job_id)
    )

-- name: create_job
-- A new job of a tenant.
-- Takes: organization_id, job_id, workflow_id uuid, client_id uuid (may be NULL), initiator_type text (may be NULL),
--        status text, result text (JSON, may be NULL), started_at and completed_at timestamptz (may be NULL); {columns}.
-- Gives: one row: the columns.
INSERT INTO orchestration.jobs (
    id, organization_id, workflow_id, client_id, initiator_type, status, result, started_at, completed_at
)
VALUES (
    %(job_id)s, %(organization_id)s, %(workflow_id)s, %(client_id)s, %(initiator_type)s,
    %(status)s::orchestration.job_status, %(result)s::jsonb, %(started_at)s, %(completed_at)s
)
RETURNING {columns}

-- name: create_workflow
-- A new workflow of a tenant, without a definition.
-- Takes: organization_id, workflow_id uuid, name text; {columns} in their place. Gives: one row: the columns.
INSERT INTO orchestration.workflows (id, organization_id, name)
VALUES (%(workflow_id)s, %(organization_id)s, %(name)s)
RETURNING {columns}

-- name: create_definition
-- What one workflow of a tenant does from now on, in place of what it did.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid, definition text (JSON), or
--        definition_reference text, definition_size_bytes bigint and definition_sha256 text; the others NULL; {visible}.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET
    definition = %(definition)s::jsonb,
    definition_reference = %(definition_reference)s,
    definition_size_bytes = %(definition_size_bytes)s,
    definition_sha256 = %(definition_sha256)s,
    updated_at = now()
WHERE id IN (SELECT id FROM ({visible}) AS visible_rows WHERE id = %(workflow_id)s)
RETURNING id

-- name: create_screenshot
-- A new screenshot of a tenant's job.
-- Takes: organization_id, screenshot_id, job_id uuid, step_name text (may be NULL), screenshot_type, image_reference text,
--        image_size_bytes bigint, image_sha256 text, captured_at timestamptz; {columns} in their place.
-- Gives: one row: the columns, or none when there is no such job.
INSERT INTO orchestration.execution_screenshots (
    id, organization_id, job_id, step_name, screenshot_type, image_reference, image_size_bytes, image_sha256, captured_at
)
SELECT
    %(screenshot_id)s, organization_id, id, %(step_name)s, %(screenshot_type)s,
    %(image_reference)s, %(image_size_bytes)s, %(image_sha256)s, %(captured_at)s
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING {columns}

-- name: create_rag_rules
-- The payers and rules that were found for a tenant's job.
-- Takes: organization_id, job_id uuid, payers and rules text (JSON).
-- Gives: one row: job_id, or none when there is no such job.
INSERT INTO orchestration.execution_rag_rules (organization_id, job_id, payers, rules)
SELECT organization_id, id, %(payers)s::jsonb, %(rules)s::jsonb
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING job_id

-- name: judge_blobs
-- Which blobs are named by no row, and which belong to organizations that this database does not know.
-- Takes: "references" text[], which begin with the id of the organization.
-- Gives: a row for each: reference, is_known (its organization is), is_named (by a workflow, deleted or not).
SELECT
    blobs.reference,
    EXISTS (
        SELECT FROM orchestration.organizations AS o WHERE o.id = split_part(blobs.reference, '/', 1)::uuid
    ) AS is_known,
    named.reference IS NOT NULL AS is_named
FROM unnest(%(references)s::text[]) AS blobs (reference)
LEFT JOIN (
    SELECT DISTINCT definition_reference AS reference FROM orchestration.workflows
) AS named ON named.reference = blobs.reference

-- name: own_blobs
-- Keep blobs from being written until this transaction has ended, unless somebody is writing one.
-- Takes: nothing. Gives: one row: owned boolean, false when somebody is.
SELECT pg_try_advisory_xact_lock(hashtextextended('execmetrics blobs', 0)) AS owned

-- name: share_blobs
-- Keep blobs from being swept until this transaction has ended; any number of transactions may.
-- Takes: nothing. Gives: one row.
SELECT pg_advisory_xact_lock_shared(hashtextextended('execmetrics blobs', 0))
