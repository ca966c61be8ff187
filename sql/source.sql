-- The source as one moment shows it.

-- name: clock
-- How far the data of this server goes, read before the snapshot so that the snapshot holds all of it.
-- Takes: nothing.
-- Gives: one row: extracted_at timestamptz, the server's clock. On a standby that has not yet replayed what it
--        received, or that receives nothing, it is when the last transaction that it replayed had ended.
SELECT
    CASE
        WHEN
            NOT pg_is_in_recovery()
            OR (
                -- In this order: whatever was received by the second look had been replayed by the first.
                pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()
                AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            )
            THEN statement_timestamp()
        -- A standby that has replayed no transaction since it started goes as far as its last checkpoint.
        ELSE coalesce(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint()))
    END AS extracted_at

-- name: names
-- Which workflows, or clients, changed since their organization's cursor, so that dashboards can name them.
-- Takes: {relation}, workflows or clients; execmetrics.cursors and execmetrics.scope, as jobs does.
-- Gives: one row for each: id, organization_id, name, deleted_at (an infinite one as the epoch).
WITH cursors AS MATERIALIZED (
    SELECT c.organization_id, age((c.horizon & 4294967295)::text::xid) AS oldest
    FROM jsonb_to_recordset(current_setting('execmetrics.cursors')::jsonb) AS c (organization_id uuid, horizon bigint)
)
SELECT
    n.id,
    n.organization_id,
    n.name::text AS name,
    CASE WHEN isfinite(n.deleted_at) THEN n.deleted_at WHEN n.deleted_at IS NOT NULL THEN 'epoch' END AS deleted_at
FROM orchestration.{relation} AS n
LEFT JOIN cursors ON cursors.organization_id = n.organization_id
WHERE
    (current_setting('execmetrics.scope') = 'all' OR cursors.organization_id IS NOT NULL)
    AND (cursors.oldest IS NULL OR age(n.xmin) <= cursors.oldest)

-- name: organizations
-- Every organization of the source, deleted ones included.
-- Takes: nothing.
-- Gives: one row per organization: id, name, time_zone, deleted_at (an infinite one as the epoch).
SELECT
    id,
    name::text AS name,
    time_zone::text AS time_zone,
    CASE WHEN isfinite(deleted_at) THEN deleted_at WHEN deleted_at IS NOT NULL THEN 'epoch' END AS deleted_at
FROM orchestration.organizations

-- name: relations
-- The relations of the contract: the types of their columns, and which of them no version tells the changes of.
-- Takes: nothing.
-- Gives: one row per relation that is there: name, kind, columns (a JSON object of their types by name, of a domain
--        the type below it), read_whole (a phrase; NULL where `xmin` tells what changed, and for a view).
SELECT
    c.relname::text AS name,
    c.relkind::text AS kind,
    (
        SELECT
            json_object_agg(
                a.attname,
                format_type(
                    coalesce((SELECT t.typbasetype FROM pg_type AS t WHERE t.oid = a.atttypid AND t.typtype = 'd'), a.atttypid),
                    NULL
                )
            )::text
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND (a.attnum > 0 OR a.attname = 'xmin') AND NOT a.attisdropped
    ) AS columns,
    CASE
        WHEN c.relkind = 'f' THEN 'it is a foreign table'
        WHEN c.relkind = 'm' THEN 'it is a materialized view'
        WHEN c.relkind = 'r' AND (SELECT m.amname FROM pg_am AS m WHERE m.oid = c.relam) <> 'heap' THEN 'it is no heap'
        WHEN
            c.relhassubclass
            AND EXISTS (
                SELECT
                FROM pg_class AS part
                LEFT JOIN pg_am AS m ON m.oid = part.relam
                WHERE
                    (part.relkind = 'f' OR m.amname <> 'heap')
                    AND (
                        part.oid IN (SELECT tree.relid FROM pg_partition_tree(c.oid) AS tree)
                        OR part.oid IN (SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = c.oid)
                    )
            )
            THEN 'a part of it is a foreign table or no heap'
    END AS read_whole
FROM pg_class AS c
WHERE
    c.relnamespace = to_regnamespace('orchestration')
    AND c.relname IN ('organizations', 'workflows', 'clients', 'jobs', 'execution_logs')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: row_versions
-- Whether some rows of a view have no version.
-- Takes: {relation}, a relation of the contract.
-- Gives: one row: impossible boolean. Of a thousand rows, one has an xmin of NULL or 0, which no transaction has.
SELECT coalesce(bool_or(coalesce(shown.version, '0') = '0'), false) AS impossible
FROM (SELECT r.xmin::text AS version FROM orchestration.{relation} AS r LIMIT 1000) AS shown

-- name: snapshot
-- What the source looked like when the snapshot was taken, read before any row.
-- Takes: nothing; runs first in a REPEATABLE READ, READ ONLY transaction.
-- Gives: one row: horizon bigint (every transaction below it had ended), identity text (which
--        server, history, database and table this is, and what its views say; a standby's are its
--        primary's).
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
    concat_ws(
        '/',
        (SELECT system_identifier FROM pg_control_system()),
        CASE
            -- A standby's control file follows at the next restartpoint; the other source is seen by some roles.
            WHEN pg_is_in_recovery() THEN greatest(
                (SELECT timeline_id FROM pg_control_checkpoint()),
                (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                (SELECT received_tli FROM pg_stat_wal_receiver)
            )
            -- The control file of a server that was just promoted follows at the end of a checkpoint.
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
        END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'orchestration.jobs'::regclass::oid,
        -- A view that says something else makes other rows of the same ones.
        (
            SELECT md5(string_agg(pg_get_viewdef(v.oid), '' ORDER BY v.relname))
            FROM pg_class AS v
            WHERE
                v.relnamespace = 'orchestration'::regnamespace
                AND v.relkind = 'v'
                AND v.relname IN ('organizations', 'workflows', 'clients', 'jobs')
        )
    ) AS identity

-- name: views
-- Why rows of the contract's views cannot be compared by version, down to the tables that they read.
-- Takes: nothing.
-- Gives: one row per view that is there: name, read_whole (a phrase; NULL where `xmin` tells what changed).
WITH RECURSIVE contract AS (
    SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind
    FROM pg_class AS c
    WHERE
        c.relnamespace = to_regnamespace('orchestration')
        AND c.relname IN ('organizations', 'workflows', 'clients', 'jobs', 'execution_logs')
        AND c.relkind = 'v'
),
-- Down through views and partitions to what holds the rows.
beneath AS (
    SELECT contract.name, contract.oid, contract.kind
    FROM contract
    UNION
    SELECT beneath.name, below.oid, c.relkind::text AS kind
    FROM beneath
    CROSS JOIN LATERAL (
        SELECT d.refobjid AS oid
        FROM pg_rewrite AS r
        INNER JOIN pg_depend AS d
            ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        WHERE r.ev_class = beneath.oid AND r.ev_type = '1' AND d.refobjid <> beneath.oid
        UNION
        SELECT i.inhrelid AS oid FROM pg_inherits AS i WHERE i.inhparent = beneath.oid
    ) AS below
    INNER JOIN pg_class AS c ON c.oid = below.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
doubts AS (
    SELECT
        beneath.name,
        CASE
            WHEN beneath.kind = 'f' THEN 'it reads the foreign table ' || beneath.oid::regclass
            WHEN beneath.kind = 'm' THEN 'it reads the materialized view ' || beneath.oid::regclass
            WHEN beneath.kind = 'r' AND a.amname <> 'heap' THEN beneath.oid::regclass || ' is no heap but ' || a.amname
            WHEN beneath.kind = 'v' THEN (
                SELECT
                    CASE
                        WHEN count(DISTINCT d.refobjid) FILTER (WHERE d.refclassid = 'pg_class'::regclass) <> 1
                            THEN 'it does not read exactly one relation'
                        WHEN count(*) FILTER (WHERE below.attname = 'xmin') = 0
                            THEN 'it does not read the xmin of the relation below it'
                        WHEN count(*) FILTER (WHERE p.provolatile <> 'i') > 0
                            THEN 'it calls a function that may read other rows'
                        WHEN bool_or(strpos(r.ev_action::text, ':hasSubLinks true') > 0) THEN 'it has a subquery'
                        WHEN pg_relation_is_updatable(beneath.oid, false) = 0
                            THEN 'its rows are not the rows of the relation below it'
                    END
                FROM pg_rewrite AS r
                INNER JOIN pg_depend AS d
                    ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refobjid <> beneath.oid
                LEFT JOIN pg_attribute AS below
                    ON d.refclassid = 'pg_class'::regclass AND below.attrelid = d.refobjid AND below.attnum = d.refobjsubid
                LEFT JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
                WHERE r.ev_class = beneath.oid AND r.ev_type = '1'
            )
        END AS doubt
    FROM beneath
    INNER JOIN pg_class AS c ON c.oid = beneath.oid
    LEFT JOIN pg_am AS a ON a.oid = c.relam
)
SELECT
    contract.name,
    min(doubts.doubt) AS read_whole
FROM contract
INNER JOIN doubts ON doubts.name = contract.name
GROUP BY contract.name

-- name: zone_offsets
-- When the clocks of these time zones changed, by this server's rules: where days, weeks and months begin.
-- Takes: execmetrics.time_zones, a JSON array of names; execmetrics.calendar_since and .calendar_until,
--        timestamptz.
-- Gives: one row per zone and offset from UTC: time_zone, since timestamptz (the first one is
--        calendar_since), offset_s integer, the seconds to add to UTC. None of a zone that the server does
--        not list: to ask for its time would be an error, and to some abbreviations it gives two answers.
WITH RECURSIVE zones AS MATERIALIZED (
    SELECT DISTINCT z.time_zone
    FROM jsonb_array_elements_text(current_setting('execmetrics.time_zones')::jsonb) AS z (time_zone)
    WHERE EXISTS (
        SELECT FROM pg_timezone_names AS listed
        WHERE lower(listed.name COLLATE "C") = lower(z.time_zone COLLATE "C")
    )
),
-- Stretches in which the offset changes, halved until they are a second long. Two changes that undo each
-- other within the first three days would be overlooked; since 2000 no zone had them within six days.
-- "They differ" is said as an equality, of which the planner expects few rows: for many it would compile
-- the statement first, and that takes longer than all the rest.
changing AS (
    SELECT
        zones.time_zone,
        stretch.since,
        262144 AS seconds
    FROM zones
    CROSS JOIN generate_series(
        current_setting('execmetrics.calendar_since')::timestamptz,
        current_setting('execmetrics.calendar_until')::timestamptz,
        interval '262144 seconds'
    ) AS stretch (since)
    WHERE
        CASE
            WHEN
                ((stretch.since + interval '262144 seconds') AT TIME ZONE zones.time_zone)
                - (stretch.since AT TIME ZONE zones.time_zone) <> interval '262144 seconds'
                THEN 1
        END = 1
    UNION ALL
    SELECT
        changing.time_zone,
        half.since,
        half.seconds
    FROM changing
    CROSS JOIN LATERAL (
        VALUES
        (changing.since, changing.seconds / 2),
        (changing.since + make_interval(secs => changing.seconds / 2), changing.seconds / 2)
    ) AS half (since, seconds)
    WHERE
        half.seconds > 0
        AND CASE
            WHEN
                ((half.since + make_interval(secs => half.seconds)) AT TIME ZONE changing.time_zone)
                - (half.since AT TIME ZONE changing.time_zone) <> make_interval(secs => half.seconds)
                THEN 1
        END = 1
),
begun AS (
    SELECT
        time_zone,
        current_setting('execmetrics.calendar_since')::timestamptz AS since
    FROM zones
    UNION ALL
    SELECT
        time_zone,
        since + interval '1 second' AS since
    FROM changing
    WHERE seconds = 1
)
SELECT
    time_zone,
    since,
    extract(EPOCH FROM (since AT TIME ZONE time_zone) - (since AT TIME ZONE 'UTC'))::integer AS offset_s
FROM begun
