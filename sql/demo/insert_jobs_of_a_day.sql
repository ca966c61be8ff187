-- Write the jobs planned for one day of the month, each failed one followed by up to two more tries.
-- Takes: month text, seed bigint, since timestamptz, days int, day int (from 0).
-- Gives: how many it wrote, as they stood when the month ended: what was not over by then still runs or waits.
INSERT INTO orchestration.jobs (
    id, organization_id, workflow_id, client_id, initiator_type, status,
    created_at, started_at, completed_at, updated_at, deleted_at
)
WITH RECURSIVE workflow_shares AS (
    SELECT rank, array_agg(below_share ORDER BY slot) FILTER (WHERE slot > 0) AS below_shares
    FROM month_workflows
    GROUP BY rank
),
planned AS MATERIALIZED (
    SELECT
        quota.rank,
        number,
        width_bucket(pg_temp.draw(number, %(seed)s + 1), workflow_shares.below_shares) AS slot
    FROM month_days AS quota
    JOIN workflow_shares USING (rank)
    CROSS JOIN LATERAL generate_series(quota.first, quota.last) AS number
    WHERE quota.day = %(day)s
),
-- Times are milliseconds since the month began. Try 0 is the plan, which "ends" when the first try is created; every
-- next try follows from the one before it, so that a try is described only once.
tries AS (
    SELECT
        planned.number,
        0 AS try,
        %(seed)s::bigint AS salt,
        planned.rank,
        planned.slot,
        CASE
            WHEN chance.client >= CASE workflow.rhythm WHEN 'night' THEN 0.4 ELSE 0.06 END
                THEN floor(workflow.clients * power(chance.which_client, 2))::integer
        END AS client_number,
        CASE
            WHEN chance.initiator < 0.02 THEN NULL
            WHEN workflow.rhythm = 'night' THEN CASE WHEN chance.initiator < 0.06 THEN 'USER' ELSE 'SCHEDULE' END
            WHEN workflow.rhythm = 'always' THEN CASE WHEN chance.initiator < 0.4 THEN 'API' ELSE 'WEBHOOK' END
            WHEN chance.initiator < 0.5 THEN 'USER'
            WHEN chance.initiator < 0.85 THEN 'API'
            ELSE 'WEBHOOK'
        END AS initiator_type,
        NULL::text AS outcome,
        NULL::bigint AS created_ms,
        NULL::bigint AS started_ms,
        %(day)s * 86400000::bigint
            + floor(3600000 * (width_bucket(chance.hour, hours.below_shares) + chance.minute))::bigint AS ended_ms
    FROM planned
    JOIN month_workflows AS workflow USING (rank, slot)
    JOIN month_hours AS hours
        ON hours.time_zone = workflow.time_zone AND hours.rhythm = workflow.rhythm AND hours.day = %(day)s
    CROSS JOIN LATERAL (
        SELECT
            pg_temp.draw(planned.number, %(seed)s + 2) AS client,
            pg_temp.draw(planned.number, %(seed)s + 3) AS which_client,
            pg_temp.draw(planned.number, %(seed)s + 4) AS initiator,
            pg_temp.draw(planned.number, %(seed)s + 5) AS hour,
            pg_temp.draw(planned.number, %(seed)s + 6) AS minute
    ) AS chance

    UNION ALL

    SELECT
        tried.number,
        tried.try + 1,
        fresh.salt,
        tried.rank,
        tried.slot,
        tried.client_number,
        tried.initiator_type,
        CASE
            WHEN deployment.is_bad OR chance.failure < workflow.failure_rate * least(1 + 4 * tried.try, 6) THEN 'FAILED'
            WHEN chance.loss < 0.0120 THEN 'CANCELLED'
            WHEN chance.loss < 0.0125 THEN 'RUNNING'
            WHEN chance.loss < 0.0130 THEN 'PENDING'
            ELSE 'COMPLETED'
        END,
        creation.created_ms,
        creation.created_ms + queue.waited_ms,
        creation.created_ms + queue.waited_ms + CASE
            WHEN deployment.is_bad THEN 900 + floor(1500 * chance.duration)::bigint
            -- Box and Muller: two even draws make a normal one, and the logarithm of a duration is normal.
            ELSE 1 + floor(exp(
                workflow.log_median_ms
                + workflow.spread * sqrt(-2 * ln(1 - chance.duration)) * cos(2 * pi() * chance.duration_too)
            ))::bigint
        END
    FROM tries AS tried
    JOIN month_workflows AS workflow USING (rank, slot)
    CROSS JOIN LATERAL (SELECT tried.salt + 100 AS salt) AS fresh
    CROSS JOIN LATERAL (
        SELECT
            pg_temp.draw(tried.number, fresh.salt + 7) AS pause,
            pg_temp.draw(tried.number, fresh.salt + 8) AS wait,
            pg_temp.draw(tried.number, fresh.salt + 9) AS duration,
            pg_temp.draw(tried.number, fresh.salt + 10) AS duration_too,
            pg_temp.draw(tried.number, fresh.salt + 11) AS failure,
            pg_temp.draw(tried.number, fresh.salt + 12) AS loss
    ) AS chance
    CROSS JOIN LATERAL (
        SELECT tried.ended_ms
            + CASE WHEN tried.try = 0 THEN 0 ELSE 20000 + floor(580000 * chance.pause)::bigint END AS created_ms
    ) AS creation
    CROSS JOIN LATERAL (SELECT 150 + floor(-1800 * ln(1 - chance.wait))::bigint AS waited_ms) AS queue
    CROSS JOIN LATERAL (
        SELECT coalesce(
            chance.failure < 0.97
            AND creation.created_ms >= workflow.incident_since_ms
            AND creation.created_ms < workflow.incident_until_ms,
            false
        ) AS is_bad
    ) AS deployment
    WHERE tried.try = 0
        OR (tried.outcome = 'FAILED' AND tried.try < 3 AND pg_temp.draw(tried.number, tried.salt + 13) < 0.6)
),
-- A few clocks go wrong, so that the end comes before the start, and a few jobs were deleted by someone.
seen AS (
    SELECT
        tries.*,
        CASE
            WHEN outcome = 'PENDING' OR started_ms >= month.ms THEN 'PENDING'
            WHEN outcome = 'RUNNING' OR ended_ms >= month.ms THEN 'RUNNING'
            ELSE outcome
        END AS status,
        CASE
            WHEN oddity < 0.0002 THEN started_ms - 1 - floor(6000000 * oddity)::bigint ELSE ended_ms
        END AS completed_ms,
        CASE WHEN oddity > 0.999 AND ended_ms + 3600000 < month.ms THEN ended_ms + 3600000 END AS deleted_ms
    FROM tries
    CROSS JOIN LATERAL (SELECT pg_temp.draw(number, salt + 14) AS oddity) AS chance
    CROSS JOIN (SELECT %(days)s * 86400000::bigint AS ms) AS month
    WHERE try > 0 AND created_ms < month.ms
)
SELECT
    -- A UUID of version 7, which begins with the time: new rows go to the end of the primary key.
    (
        lpad(to_hex((extract(epoch FROM %(since)s::timestamptz) * 1000)::bigint + seen.created_ms), 12, '0')
        || '7' || substr(noise.hex, 1, 3) || '8' || substr(noise.hex, 4, 15)
    )::uuid,
    workflow.organization_id,
    workflow.id,
    client.id,
    seen.initiator_type,
    seen.status::orchestration.job_status,
    moment.created,
    CASE WHEN seen.status <> 'PENDING' THEN moment.started END,
    CASE WHEN seen.status NOT IN ('PENDING', 'RUNNING') THEN moment.completed END,
    CASE
        WHEN moment.deleted IS NOT NULL THEN moment.deleted
        WHEN seen.status = 'PENDING' THEN moment.created
        WHEN seen.status = 'RUNNING' THEN moment.started
        ELSE greatest(moment.started, moment.completed)
    END,
    moment.deleted
FROM seen
JOIN month_workflows AS workflow USING (rank, slot)
LEFT JOIN month_clients AS client ON client.rank = seen.rank AND client.number = seen.client_number
CROSS JOIN LATERAL (SELECT md5(%(month)s || seen.salt || '/' || seen.number) AS hex) AS noise
CROSS JOIN LATERAL (
    SELECT
        %(since)s::timestamptz + seen.created_ms * interval '1 millisecond' AS created,
        %(since)s::timestamptz + seen.started_ms * interval '1 millisecond' AS started,
        %(since)s::timestamptz + seen.completed_ms * interval '1 millisecond' AS completed,
        %(since)s::timestamptz + seen.deleted_ms * interval '1 millisecond' AS deleted
) AS moment
ORDER BY moment.created
