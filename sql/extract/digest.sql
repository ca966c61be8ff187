-- How many jobs count, and what they are, in three numbers per organization and UTC day of creation.
-- Takes: the expression row_hash.sql and any of digest_of/*.sql, in their places, with what those take; the
--        first and the last completion believed, execmetrics.earliest and .latest (timestamptz);
--        execmetrics.reserved_ids uuid[] and .reserved_initiators text[].
-- Gives: one row per organization and day with jobs that count: organization_id, created_date, jobs, and the
--        sums of the lower and the upper 32 bits of their hashes, low and high, which fit into a bigint.
SELECT
    counted.organization_id,
    counted.created_date,
    count(*) AS jobs,
    sum(counted.row_hash & 4294967295)::bigint AS low,
    sum(counted.row_hash >> 32)::bigint AS high
FROM (
    SELECT
        j.organization_id,
        (j.created_at AT TIME ZONE 'UTC')::date AS created_date,
        {row_hash} AS row_hash
    FROM orchestration.jobs AS j
    LEFT JOIN orchestration.workflows AS w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients AS c ON c.id = j.client_id
    WHERE
        -- A condition that the planner does not look into: it would take its parts for a handful of rows.
        coalesce(
            j.deleted_at IS NULL
            AND j.completed_at >= '0001-01-01Z' AND j.completed_at < '10000-01-01Z'
            AND j.started_at >= '0001-01-01Z' AND j.started_at < '10000-01-01Z'
            AND j.created_at >= '0001-01-01Z' AND j.created_at < '10000-01-01Z'
            AND j.updated_at >= '0001-01-01Z' AND j.updated_at < '10000-01-01Z'
            AND j.completed_at >= (SELECT current_setting('execmetrics.earliest')::timestamptz)
            AND j.completed_at <= (SELECT current_setting('execmetrics.latest')::timestamptz)
            AND j.status::text IN ('COMPLETED', 'FAILED')
            AND (j.organization_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (j.workflow_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (j.client_id = ANY ((SELECT current_setting('execmetrics.reserved_ids')::uuid[])::uuid[])) IS NOT TRUE
            AND (
                j.initiator_type::text = ANY ((SELECT current_setting('execmetrics.reserved_initiators')::text[])::text[])
            ) IS NOT TRUE
            AND (length(j.initiator_type::text) > 500) IS NOT TRUE,
            false
        )
        AND coalesce(w.organization_id = j.organization_id, true)
        AND coalesce(c.organization_id = j.organization_id, true)
        {narrowed}
    -- Kept apart: the planner would compute each hash anew for either sum.
    OFFSET 0
) AS counted
GROUP BY counted.organization_id, counted.created_date
