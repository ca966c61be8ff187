-- How many steps count, and what they are, in three numbers per organization and UTC day on which they ended.
-- Takes: the expressions step_counts.sql and step_hash.sql, in their places, with what those take;
--        execmetrics.scope, `all` or `listed`, and execmetrics.organization_ids uuid[], who is listed; the first moment and the moment past the last,
--        execmetrics.steps_since and .steps_until (timestamptz, -infinity and infinity for none).
-- Gives: one row per organization and day with steps that count: organization_id, completed_date, jobs (how many
--        steps), and the sums of the lower and the upper 32 bits of their hashes, low and high.
SELECT
    counted.organization_id,
    counted.completed_date,
    count(*) AS jobs,
    sum(counted.row_hash & 4294967295)::bigint AS low,
    sum(counted.row_hash >> 32)::bigint AS high
FROM (
    SELECT
        l.organization_id,
        (l.timestamp AT TIME ZONE 'UTC')::date AS completed_date,
        {row_hash} AS row_hash
    FROM orchestration.execution_logs AS l
    INNER JOIN orchestration.jobs AS j ON j.id = l.job_id
    WHERE
        (
            (SELECT current_setting('execmetrics.scope') = 'all')
            OR l.organization_id = ANY (current_setting('execmetrics.organization_ids')::uuid[])
        )
        AND l.timestamp >= current_setting('execmetrics.steps_since')::timestamptz
        AND l.timestamp < current_setting('execmetrics.steps_until')::timestamptz
        AND {counts}
    -- Kept apart: the planner would compute each hash anew for either sum.
    OFFSET 0
) AS counted
GROUP BY counted.organization_id, counted.completed_date
