-- Jobs, workflows, screenshots and retrieved rules of one tenant; blobs; and what these share.

-- name: how_it_ended
-- How a transaction ended whose connection was lost.
-- Takes: id text.
-- Gives: one row: status text, which is committed, aborted, in progress, or NULL when the server no longer knows.
SELECT pg_xact_status(%(id)s::xid8) AS status

-- name: record_access
-- Say who is about to read rows of a tenant that may hold personal health data, and why.
-- Takes: organization_id uuid, accessed_by text, accessed text (the table, and the column if it is one), job_id uuid (may
--        be NULL), purpose text.
-- Gives: nothing.
INSERT INTO orchestration.phi_access_log (organization_id, accessed_by, accessed, job_id, purpose)
VALUES (%(organization_id)s, %(accessed_by)s, %(accessed)s, %(job_id)s, %(purpose)s)

-- name: this_transaction
-- By which id the server will remember how this transaction ended.
-- Takes: nothing.
-- Gives: one row: id text, NULL while the transaction has written nothing.
SELECT pg_current_xact_id_if_assigned()::text AS id

-- name: create_job
-- A new job of a tenant.
-- Takes: organization_id, job_id, workflow_id uuid, client_id uuid (may be NULL), initiator_type text (may be NULL), status
--        text, result text (JSON, may be NULL), started_at and completed_at timestamptz (may be NULL).
-- Gives: one row: the columns of orchestration.jobs but for organization_id and result.
INSERT INTO orchestration.jobs (
    id, organization_id, workflow_id, client_id, initiator_type, status, result, started_at, completed_at
)
VALUES (
    %(job_id)s,
    %(organization_id)s,
    %(workflow_id)s,
    %(client_id)s,
    %(initiator_type)s,
    %(status)s::orchestration.job_status,
    %(result)s::jsonb,
    %(started_at)s,
    %(completed_at)s
)
RETURNING
    id,
    workflow_id,
    client_id,
    initiator_type,
    status::text AS status,
    created_at,
    started_at,
    completed_at,
    updated_at,
    deleted_at

-- name: delete_job
-- Soft-delete one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, id, or none when there is no such job.
UPDATE orchestration.jobs
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible_jobs}) AS jobs WHERE id = %(job_id)s)
RETURNING id

-- name: find_job
-- One job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: the columns of orchestration.jobs but for result.
SELECT
    id,
    workflow_id,
    client_id,
    initiator_type,
    status::text AS status,
    created_at,
    started_at,
    completed_at,
    updated_at,
    deleted_at
FROM ({visible_jobs}) AS jobs
WHERE id = %(job_id)s

-- name: find_job_result
-- What one job of a tenant returned.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: job_id, result jsonb (may be NULL).
SELECT id AS job_id, result
FROM ({visible_jobs}) AS jobs
WHERE id = %(job_id)s

-- name: visible_jobs
-- The rows that every statement about one tenant's jobs begins with.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.jobs.
SELECT *
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)

-- name: create_workflow
-- A new workflow of a tenant, without a definition.
-- Takes: organization_id, workflow_id uuid, name text.
-- Gives: one row: id, name, created_at, updated_at, deleted_at (NULL).
INSERT INTO orchestration.workflows (id, organization_id, name)
VALUES (%(workflow_id)s, %(organization_id)s, %(name)s)
RETURNING
    id,
    name,
    created_at,
    updated_at,
    deleted_at

-- name: create_definition
-- What one workflow of a tenant does from now on, in place of what it did.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid, definition text (JSON), or
--        definition_reference text, definition_size_bytes bigint and definition_sha256 text; the others NULL.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET
    definition = %(definition)s::jsonb,
    definition_reference = %(definition_reference)s,
    definition_size_bytes = %(definition_size_bytes)s,
    definition_sha256 = %(definition_sha256)s,
    updated_at = now()
WHERE id IN (SELECT id FROM ({visible_workflows}) AS workflows WHERE id = %(workflow_id)s)
RETURNING id

-- name: delete_workflow
-- Soft-delete one workflow of a tenant; its jobs stay.
-- Takes: organization_id uuid, include_deleted boolean (false), workflow_id uuid.
-- Gives: one row, id, or none when there is no such workflow.
UPDATE orchestration.workflows
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible_workflows}) AS workflows WHERE id = %(workflow_id)s)
RETURNING id

-- name: find_workflow
-- One workflow of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, workflow_id uuid.
-- Gives: one row or none: id, name, created_at, updated_at, deleted_at (may be NULL).
SELECT
    id,
    name,
    created_at,
    updated_at,
    deleted_at
FROM ({visible_workflows}) AS workflows
WHERE id = %(workflow_id)s

-- name: find_definition
-- What one workflow of a tenant does, or where that is.
-- Takes: organization_id uuid, include_deleted boolean, workflow_id uuid.
-- Gives: one row or none: id, definition jsonb, definition_reference text, definition_size_bytes bigint,
--        definition_sha256 text; all but id may be NULL.
SELECT
    id,
    definition,
    definition_reference,
    definition_size_bytes,
    definition_sha256
FROM ({visible_workflows}) AS workflows
WHERE id = %(workflow_id)s

-- name: visible_workflows
-- The rows that every statement about one tenant's workflows begins with.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: the columns of orchestration.workflows.
SELECT *
FROM orchestration.workflows
WHERE organization_id = %(organization_id)s AND (deleted_at IS NULL OR %(include_deleted)s)

-- name: create_screenshot
-- A new screenshot of a tenant's job.
-- Takes: organization_id, screenshot_id, job_id uuid, step_name text (may be NULL), screenshot_type, image_reference text,
--        image_size_bytes bigint, image_sha256 text, captured_at timestamptz.
-- Gives: one row: the columns of a screenshot, or none when there is no such job.
INSERT INTO orchestration.execution_screenshots (
    id, organization_id, job_id, step_name, screenshot_type, image_reference, image_size_bytes, image_sha256, captured_at
)
SELECT
    %(screenshot_id)s,
    organization_id,
    id,
    %(step_name)s,
    %(screenshot_type)s,
    %(image_reference)s,
    %(image_size_bytes)s,
    %(image_sha256)s,
    %(captured_at)s
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING
    id,
    job_id,
    step_name,
    screenshot_type,
    image_reference,
    image_size_bytes,
    image_sha256,
    captured_at,
    created_at,
    deleted_at

-- name: delete_screenshot
-- Soft-delete one screenshot of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), screenshot_id uuid.
-- Gives: one row, id, or none when there is no such screenshot.
UPDATE orchestration.execution_screenshots
SET deleted_at = now(), updated_at = now()
WHERE id IN (SELECT id FROM ({visible_screenshots}) AS screenshots WHERE id = %(screenshot_id)s)
RETURNING id

-- name: find_screenshots_by_job
-- The screenshots of one job of a tenant, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid, after_captured_at timestamptz and after_id uuid (the place of
--        the last row that was taken, NULL for none), rows bigint (how many at most).
-- Gives: a row for each, as `visible_screenshots` does.
SELECT *
FROM ({visible_screenshots}) AS screenshots
WHERE
    job_id = %(job_id)s AND (
        %(after_captured_at)s::timestamptz IS NULL
        OR (captured_at, id) < (%(after_captured_at)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY captured_at DESC, id DESC
LIMIT %(rows)s

-- name: find_screenshots
-- A tenant's screenshots, the newest first.
-- Takes: organization_id uuid, include_deleted boolean, after_captured_at timestamptz and after_id uuid (the place of
--        the last row that was taken, NULL for none), rows bigint (how many at most).
-- Gives: a row for each, as `visible_screenshots` does.
SELECT *
FROM ({visible_screenshots}) AS screenshots
WHERE
    (
        %(after_captured_at)s::timestamptz IS NULL
        OR (captured_at, id) < (%(after_captured_at)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY captured_at DESC, id DESC
LIMIT %(rows)s

-- name: visible_screenshots
-- The rows that every statement about one tenant's screenshots begins with; those of a deleted job are deleted as well.
-- Takes: organization_id uuid, include_deleted boolean.
-- Gives: a row for each: id, job_id, step_name (may be NULL), screenshot_type, image_reference, image_size_bytes,
--        image_sha256, captured_at, created_at, deleted_at (may be NULL).
SELECT
    screenshots.id,
    screenshots.job_id,
    screenshots.step_name,
    screenshots.screenshot_type,
    screenshots.image_reference,
    screenshots.image_size_bytes,
    screenshots.image_sha256,
    screenshots.captured_at,
    screenshots.created_at,
    screenshots.deleted_at
FROM orchestration.execution_screenshots AS screenshots
WHERE
    screenshots.organization_id = %(organization_id)s
    AND (
        %(include_deleted)s
        OR screenshots.deleted_at IS NULL
        AND (SELECT jobs.deleted_at IS NULL FROM orchestration.jobs WHERE jobs.id = screenshots.job_id)
    )

-- name: create_rag_rules
-- The payers and rules that were found for a tenant's job.
-- Takes: organization_id, job_id uuid, payers and rules text (JSON).
-- Gives: one row: job_id, or none when there is no such job.
INSERT INTO orchestration.execution_rag_rules (organization_id, job_id, payers, rules)
SELECT
    organization_id,
    id,
    %(payers)s::jsonb,
    %(rules)s::jsonb
FROM orchestration.jobs
WHERE organization_id = %(organization_id)s AND id = %(job_id)s AND deleted_at IS NULL
RETURNING job_id

-- name: delete_rag_rules
-- Soft-delete the payers and rules of one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean (false), job_id uuid.
-- Gives: one row, job_id, or none when it has none.
UPDATE orchestration.execution_rag_rules
SET deleted_at = now(), updated_at = now()
WHERE job_id IN (SELECT job_id FROM ({visible_rag_rules}) AS rag_rules WHERE job_id = %(job_id)s)
RETURNING job_id

-- name: find_rag_rules
-- Which payers and rules were found for one job of a tenant.
-- Takes: organization_id uuid, include_deleted boolean, job_id uuid.
-- Gives: one row or none: job_id, payers jsonb, rules jsonb, created_at, deleted_at (may be NULL).
SELECT
    job_id,
    payers,
    rules,
    created_at,
    deleted_at
FROM ({visible_rag_rules}) AS rag_rules
WHERE job_id = %(job_id)s

-- name: visible_rag_rules
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

-- name: judge_blobs
-- Which blobs are named by no row, and which belong to organizations that this database does not know.
-- Takes: organization_ids uuid[] and "references" text[], side by side.
-- Gives: a row for each: reference, is_known (its organization is), is_named (by a workflow, deleted or not).
SELECT
    blobs.reference,
    organizations.id IS NOT NULL AS is_known,
    workflows.named IS NOT NULL AS is_named
FROM unnest(%(organization_ids)s::uuid[], %(references)s::text[]) AS blobs (organization_id, reference)
LEFT JOIN orchestration.organizations ON organizations.id = blobs.organization_id
LEFT JOIN
    (SELECT DISTINCT organization_id, definition_reference AS named FROM orchestration.workflows) AS workflows
    ON workflows.organization_id = blobs.organization_id AND workflows.named = blobs.reference

-- name: own_blobs
-- Keep blobs from being written until this transaction has ended, unless somebody is writing one.
-- Takes: nothing.
-- Gives: one row: owned boolean, false when somebody is.
SELECT pg_try_advisory_xact_lock(hashtextextended('execmetrics blobs', 0)) AS owned

-- name: share_blobs
-- Keep blobs from being swept until this transaction has ended; any number of transactions may.
-- Takes: nothing.
-- Gives: one row.
SELECT pg_advisory_xact_lock_shared(hashtextextended('execmetrics blobs', 0))
