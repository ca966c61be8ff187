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
