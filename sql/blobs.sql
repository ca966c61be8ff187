-- Which blobs rows name.

-- name: judge
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

-- name: own
-- Keep blobs from being written until this transaction has ended, unless somebody is writing one.
-- Takes: nothing.
-- Gives: one row: owned boolean, false when somebody is.
SELECT pg_try_advisory_xact_lock(hashtextextended('execmetrics blobs', 0)) AS owned

-- name: share
-- Keep blobs from being swept until this transaction has ended; any number of transactions may.
-- Takes: nothing.
-- Gives: one row.
SELECT pg_advisory_xact_lock_shared(hashtextextended('execmetrics blobs', 0))
