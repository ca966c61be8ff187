-- A month of work for the demo, and what is worth a look in it.

-- name: analyze_month
-- Tell the planner how small the month's tables are, so that it hashes them. Takes and gives nothing.
ANALYZE month_organizations, month_workflows, month_clients, month_hours, month_days

-- name: analyze_source
-- Tell the planner about the rows that just arrived; without the right to, PostgreSQL only warns. Takes and gives nothing.
ANALYZE orchestration.organizations, orchestration.workflows, orchestration.clients, orchestration.jobs

-- name: bad_deployment
-- Which workflow of the month fails for six hours.
-- Takes: since timestamptz. Gives: one row from month_workflows.
SELECT
    organization_id, id AS workflow_id,
    %(since)s::timestamptz + incident_since_ms * interval '1 millisecond' AS since,
    %(since)s::timestamptz + incident_until_ms * interval '1 millisecond' AS until
FROM month_workflows
WHERE incident_since_ms IS NOT NULL

-- name: biggest_organizations
-- The organizations with the most jobs in a month, for a first look at the figures.
-- The month begins at each organization's own midnight: at most fourteen hours before UTC's, or twelve after it.
-- Takes: month timestamptz, rows integer, all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: one row per organization, the biggest first: organization_id, name, total_executions,
--        success_rate_pct, median_duration_ms, p95_duration_ms.
SELECT
    cells.organization_id, coalesce(names.name, '') AS name, cells.total_executions, cells.success_rate_pct,
    cells.median_duration_ms, cells.p95_duration_ms
FROM analytics.aggregate_metrics AS cells
LEFT JOIN analytics.organizations AS names ON names.id = cells.organization_id
WHERE
    cells.period = 'month'
    AND cells.period_start BETWEEN %(month)s - interval '14 hours' AND %(month)s + interval '12 hours'
    AND cells.workflow_id = %(all_workflows)s AND cells.client_id = %(all_clients)s
    AND cells.initiator_type = %(all_initiators)s
ORDER BY cells.total_executions DESC, cells.organization_id
LIMIT %(rows)s

-- name: draw
-- A number in [0, 1) that follows from what is drawn and for whom, so that a month is the same on every machine.
-- Takes: nothing. Gives: the temporary function draw(number, what). It hashes 32 bits of the number with the hash of
-- hash partitions, which PostgreSQL cannot change without moving everybody's rows.
CREATE OR REPLACE FUNCTION pg_temp.draw(number bigint, what bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE
RETURN (hashint8extended(number, what) & 9007199254740991) / 9007199254740992.0::double precision

-- name: insert_jobs_of_a_day
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
        quota.rank, number,
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
        planned.number, 0 AS try, %(seed)s::bigint AS salt, planned.rank, planned.slot,
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
        NULL::text AS outcome, NULL::bigint AS created_ms, NULL::bigint AS started_ms,
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
        tried.number, tried.try + 1, fresh.salt, tried.rank, tried.slot, tried.client_number,
        tried.initiator_type,
        CASE
            WHEN deployment.is_bad OR chance.failure < workflow.failure_rate * least(1 + 4 * tried.try, 6) THEN 'FAILED'
            WHEN chance.loss < 0.0120 THEN 'CANCELLED'
            WHEN chance.loss < 0.0125 THEN 'RUNNING'
            WHEN chance.loss < 0.0130 THEN 'PENDING'
            ELSE 'COMPLETED'
        END,
        creation.created_ms, creation.created_ms + queue.waited_ms, creation.created_ms + queue.waited_ms + CASE
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
    workflow.organization_id, workflow.id, client.id, seen.initiator_type,
    seen.status::orchestration.job_status, moment.created,
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

-- name: insert_named
-- Write the month's organizations, workflows or clients into the source, unless they are there.
-- Takes: since timestamptz; {table} and {columns} (the keys first) in their places. Gives: how many it wrote.
INSERT INTO orchestration.{table} ({columns}, created_at, updated_at)
SELECT {columns}, %(since)s::timestamptz, %(since)s::timestamptz FROM month_{table}
ORDER BY {columns}
ON CONFLICT (id) DO NOTHING

-- name: month_clients
-- Which clinics the organizations of the month work for.
-- Takes: month text. Gives: the temporary table month_clients, numbered from 0 within an organization.
CREATE TEMPORARY TABLE month_clients ON COMMIT DROP AS
SELECT
    organization.rank, number, organization.id AS organization_id,
    md5(%(month)s || '/client/' || organization.rank || '/' || number)::uuid AS id,
    (ARRAY[
        'Oak Street', 'Lakeside', 'Mill Road', 'North End', 'Hillcrest', 'Riverside', 'Parkway', 'Old Town',
        'Sunrise', 'Valley', 'West Side', 'Garden', 'Harbor', 'Fairview', 'Crossroads', 'Southgate', 'Union Square'
    ])[1 + mod(organization.rank * 5 + number, 17)] || ' ' || (ARRAY[
        'Pediatrics', 'Cardiology', 'Family Medicine', 'Orthopedics', 'Dermatology', 'Urgent Care', 'Imaging',
        'Oncology', 'Physical Therapy', 'Dental', 'Eye Care', 'Internal Medicine'
    ])[1 + mod(organization.rank * 7 + number, 12)] AS name
FROM month_organizations AS organization
CROSS JOIN LATERAL generate_series(0, organization.clients - 1) AS number

-- name: month_days
-- How many jobs each organization starts on each day.
-- Takes: seed bigint, since timestamptz, days int.
-- Gives: the temporary table month_days; all jobs of the month are numbered without a gap.
CREATE TEMPORARY TABLE month_days ON COMMIT DROP AS
WITH weighed AS (
    SELECT
        organization.rank, organization.jobs_before, organization.jobs_so_far, day,
        (ARRAY[115, 110, 105, 105, 95, 30, 20])[
            extract(isodow FROM (%(since)s::timestamptz + make_interval(days => day)) AT TIME ZONE 'UTC')::integer
        ] * (0.9 + 0.2 * pg_temp.draw(organization.rank, %(seed)s - day)) AS weight
    FROM month_organizations AS organization
    CROSS JOIN generate_series(0, %(days)s::integer - 1) AS day
),
cumulated AS (
    SELECT
        rank, day, jobs_before,
        jobs_before + round(
            (jobs_so_far - jobs_before)
            * sum(weight) OVER (PARTITION BY rank ORDER BY day) / sum(weight) OVER (PARTITION BY rank)
        )::bigint AS jobs_so_far
    FROM weighed
)
SELECT
    rank, day,
    1 + coalesce(lag(jobs_so_far) OVER (PARTITION BY rank ORDER BY day), jobs_before) AS first,
    jobs_so_far AS last
FROM cumulated

-- name: month_extent
-- What the month came to. Takes: organization_ids uuid[]. Gives: one row, counts of workflows, clients and jobs.
SELECT
    (SELECT count(*) FROM orchestration.workflows WHERE organization_id = ANY (%(organization_ids)s)) AS workflows,
    (SELECT count(*) FROM orchestration.clients WHERE organization_id = ANY (%(organization_ids)s)) AS clients,
    (SELECT count(*) FROM orchestration.jobs WHERE organization_id = ANY (%(organization_ids)s)) AS jobs

-- name: month_hours
-- When work happens: clinics by their own clock, files at night, laboratories always; little at the weekend.
-- Takes: since timestamptz, days int.
-- Gives: the temporary table month_hours, one row per time zone, rhythm and UTC day; below_shares says which part of
-- the day's work comes before each of its hours 1 to 23.
CREATE TEMPORARY TABLE month_hours ON COMMIT DROP AS
WITH hours AS (
    SELECT
        zone.time_zone, rhythm.rhythm, day, hour,
        rhythm.weights[1 + extract(hour FROM (
            %(since)s::timestamptz + make_interval(days => day, hours => hour)
        ) AT TIME ZONE zone.time_zone)::integer] AS weight
    FROM (SELECT DISTINCT time_zone FROM month_organizations) AS zone
    CROSS JOIN (
        VALUES
            ('office', ARRAY[
                2, 1, 1, 1, 2, 5, 20, 60, 120, 160, 170, 150, 110, 140, 160, 140, 110, 60, 35, 25, 20, 15, 8, 4
            ]),
            ('night', ARRAY[
                60, 140, 180, 160, 90, 40, 20, 10, 8, 8, 8, 8, 8, 8, 8, 8, 10, 12, 15, 20, 25, 30, 35, 45
            ]),
            ('always', ARRAY[
                40, 38, 36, 36, 40, 50, 70, 90, 100, 105, 105, 100, 95, 95, 95, 95, 90, 85, 75, 65, 60, 55, 50, 45
            ])
    ) AS rhythm (rhythm, weights)
    CROSS JOIN generate_series(0, %(days)s::integer - 1) AS day
    CROSS JOIN generate_series(0, 23) AS hour
),
shares AS (
    SELECT
        time_zone, rhythm, day, hour,
        sum(weight) OVER (PARTITION BY time_zone, rhythm, day ORDER BY hour)::double precision
            / sum(weight) OVER (PARTITION BY time_zone, rhythm, day) AS share_so_far
    FROM hours
)
SELECT time_zone, rhythm, day, array_agg(share_so_far ORDER BY hour) FILTER (WHERE hour < 23) AS below_shares
FROM shares
GROUP BY time_zone, rhythm, day

-- name: month_organizations
-- Which organizations the generated month has: sizes fall off as Zipf's law, the first is the biggest.
-- Takes: organization_ids uuid[] (the biggest first), seed bigint, jobs bigint.
-- Gives: the temporary table month_organizations, one row per organization.
CREATE TEMPORARY TABLE month_organizations ON COMMIT DROP AS
WITH sized AS (
    SELECT
        rank, power(rank, -1.1) / sum(power(rank, -1.1)) OVER () AS share,
        sum(power(rank, -1.1)) OVER (ORDER BY rank) / sum(power(rank, -1.1)) OVER () AS share_so_far
    FROM generate_series(1, cardinality(%(organization_ids)s::uuid[])) AS rank
)
SELECT
    rank::integer AS rank,
    (%(organization_ids)s::uuid[])[rank] AS id,
    (ARRAY[
        'Northgate', 'Harborview', 'Cedar Valley', 'Summit', 'Riverbend', 'Lakeshore', 'Silver Birch', 'Prairie',
        'Bluewater', 'Granite Ridge', 'Maple Grove', 'Coastal', 'High Desert', 'Fox Hollow', 'Orchard', 'Stonebridge',
        'Willow Creek', 'Red Canyon', 'Evergreen', 'Meadowlark', 'Two Rivers', 'Juniper', 'Pine Harbor'
    ])[1 + mod(rank - 1, 23)] || ' ' || (ARRAY[
        'Health Partners', 'Medical Group', 'Care Network', 'Physicians', 'Community Health', 'Billing Services',
        'Specialty Care', 'Hospital Trust', 'Family Clinics', 'Surgical Associates', 'Diagnostics'
    ])[1 + mod(rank - 1, 11)] || CASE WHEN rank > 253 THEN ' ' || (1 + (rank - 1) / 253) ELSE '' END AS name,
    (ARRAY[
        'America/New_York', 'America/Chicago', 'America/New_York', 'America/Los_Angeles', 'America/Denver', 'UTC'
    ])[1 + mod(rank - 1, 6)] AS time_zone,
    (3 + floor(9 * sqrt(share / max(share) OVER ())))::integer AS workflows,
    (1 + floor(40 * sqrt(share / max(share) OVER ())))::integer AS clients,
    0.7 + 0.8 * pg_temp.draw(rank, %(seed)s) AS slowness,
    round((share_so_far - share) * %(jobs)s)::bigint AS jobs_before,
    round(share_so_far * %(jobs)s)::bigint AS jobs_so_far
FROM sized

-- name: month_workflows
-- What the organizations of the month automate: the biggest does nearly everything, the smallest three things.
-- Takes: month text, seed bigint, days int.
-- Gives: the temporary table month_workflows, one row per workflow, numbered from 0 within its organization;
-- below_share is where its part of the organization's jobs begins. incident_since_ms (from the beginning of the
-- month) is set on one workflow only: a bad deployment on an afternoon past the middle.
CREATE TEMPORARY TABLE month_workflows ON COMMIT DROP AS
WITH catalogue (name, weight, median_s, spread, failure_rate, rhythm) AS (
    VALUES
        ('Eligibility check', 30.0, 4.2, 0.55, 0.021, 'office'),
        ('Claim status', 22.0, 9.5, 0.70, 0.034, 'office'),
        ('Prior authorization', 14.0, 95.0, 0.90, 0.062, 'office'),
        ('Appointment reminder', 16.0, 1.3, 0.35, 0.008, 'office'),
        ('Claim submission', 12.0, 18.0, 0.60, 0.045, 'night'),
        ('Remittance posting', 9.0, 41.0, 0.80, 0.027, 'night'),
        ('Referral intake', 7.0, 150.0, 1.00, 0.055, 'office'),
        ('Lab result routing', 11.0, 2.6, 0.50, 0.011, 'always'),
        ('Medication refill', 8.0, 12.0, 0.65, 0.019, 'office'),
        ('Denial follow-up', 5.0, 240.0, 1.05, 0.081, 'office'),
        ('Patient registration', 10.0, 33.0, 0.75, 0.016, 'office'),
        ('Chart retrieval', 4.0, 420.0, 1.10, 0.073, 'always'),
        ('Coverage discovery', 6.0, 27.0, 0.85, 0.040, 'night'),
        ('Statement delivery', 5.0, 3.1, 0.40, 0.009, 'night')
),
chosen AS (
    SELECT
        organization.rank, organization.id AS organization_id, catalogue.*,
        row_number() OVER (
            PARTITION BY organization.rank
            ORDER BY
                catalogue.name NOT IN ('Eligibility check', 'Claim status', 'Prior authorization'),
                pg_temp.draw(organization.rank, %(seed)s + hashtext(catalogue.name))
        ) - 1 AS slot,
        catalogue.weight * (0.5 + pg_temp.draw(-organization.rank, %(seed)s + hashtext(catalogue.name))) AS part,
        organization.workflows, organization.clients, organization.time_zone, organization.slowness
    FROM month_organizations AS organization
    CROSS JOIN catalogue
)
SELECT
    rank, slot::integer AS slot, organization_id,
    md5(%(month)s || '/workflow/' || rank || '/' || slot)::uuid AS id, name, clients, time_zone,
    ln(1000 * slowness * median_s) AS log_median_ms, spread, failure_rate, rhythm,
    sum(part) OVER (PARTITION BY rank ORDER BY slot) / sum(part) OVER (PARTITION BY rank)
        - part / sum(part) OVER (PARTITION BY rank) AS below_share,
    incident.since_ms AS incident_since_ms, incident.since_ms + 6 * 3600000 AS incident_until_ms
FROM chosen
LEFT JOIN (
    SELECT %(days)s::integer * 16 / 30 * 86400000::bigint + 14 * 3600000 AS since_ms
) AS incident ON rank = least(2, (SELECT max(rank) FROM month_organizations)) AND name = 'Prior authorization'
WHERE slot < workflows

-- name: other_organizations
-- Takes: organization_ids uuid[]; {schema} in its place. Gives: whether a schema has any other organization.
SELECT EXISTS (SELECT FROM {schema}.organizations WHERE id <> ALL (%(organization_ids)s::uuid[]))

-- name: sort_in_memory
-- Let this transaction keep a day of jobs in memory. Takes and gives nothing.
SELECT set_config('work_mem', '64MB', true)

-- name: standing_out_failures
-- The workflow that failed most beyond its own habit for some hours on end.
-- Takes: month timestamptz, all_workflows uuid, all_clients uuid, all_initiators text.
-- Gives: at most one row: organization_id, organization, workflow_id, workflow, since and until timestamptz,
--        failed_executions and total_executions between them, failed_pct between them, usual_failed_pct
--        in the rest of the month.
WITH hours AS (
    SELECT
        organization_id, workflow_id, period_start, total_executions AS total, failed_executions AS failed,
        sum(total_executions) OVER whole AS month_total, sum(failed_executions) OVER whole AS month_failed
    FROM analytics.aggregate_metrics
    WHERE
        period = 'hour'
        AND period_start >= %(month)s AND period_start < %(month)s + interval '1 month'
        AND workflow_id <> %(all_workflows)s AND client_id = %(all_clients)s AND initiator_type = %(all_initiators)s
    WINDOW whole AS (PARTITION BY organization_id, workflow_id)
),
-- An hour is bad when it failed over three times as often as the whole month. Counting the other hours up to it
-- numbers the stretches of bad ones.
judged AS (
    SELECT
        *, failed * month_total > 3 * month_failed * total AS bad,
        count(*) FILTER (WHERE failed * month_total <= 3 * month_failed * total) OVER (
            PARTITION BY organization_id, workflow_id ORDER BY period_start
        ) AS stretch
    FROM hours
),
stretches AS (
    SELECT
        organization_id, workflow_id, min(period_start) AS since,
        max(period_start) + interval '1 hour' AS until, sum(failed) AS failed, sum(total) AS total,
        min(month_failed) AS month_failed, min(month_total) AS month_total
    FROM judged
    WHERE bad
    GROUP BY organization_id, workflow_id, stretch
)
SELECT
    stretches.organization_id, coalesce(organizations.name, '') AS organization, stretches.workflow_id,
    coalesce(workflows.name, '') AS workflow, stretches.since, stretches.until,
    stretches.failed::bigint AS failed_executions, stretches.total::bigint AS total_executions,
    (100.0 * stretches.failed / stretches.total)::double precision AS failed_pct,
    coalesce(
        100.0 * (month_failed - failed) / nullif(month_total - total, 0), 0
    )::double precision AS usual_failed_pct
FROM stretches
LEFT JOIN analytics.organizations ON organizations.id = stretches.organization_id
LEFT JOIN analytics.workflows ON workflows.id = stretches.workflow_id
ORDER BY
    -- More failures than habit explains, in standard deviations of what it explains.
    (failed - total * month_failed / month_total) / sqrt(total * month_failed / month_total) DESC,
    stretches.workflow_id
LIMIT 1

-- name: table_exists
-- Takes: name text. Gives: whether there is such a table.
SELECT to_regclass(%(name)s) IS NOT NULL

-- name: trust_foreign_keys
-- Do not look up every job's workflow and client in this transaction: they come from the same join that wrote them.
-- Only a superuser may say so; it halves the time. Takes and gives nothing.
SELECT set_config('session_replication_role', 'replica', true)
