-- The relations of the contract: the types of their columns, and why their rows cannot be compared by version.
-- Takes: nothing.
-- Gives: one row per relation that is there: name, kind, read_whole (a phrase; NULL where `xmin` tells what
--        changed), columns (a JSON array of name, declared and holds, as doctor/columns.sql has them).
WITH RECURSIVE contract AS (
    SELECT c.oid, c.relname::text AS name, c.relkind::text AS kind
    FROM pg_class AS c
    WHERE
        c.relnamespace = to_regnamespace('orchestration')
        AND c.relname IN ('organizations', 'workflows', 'clients', 'jobs', 'execution_logs')
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
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
                            THEN 'it reads more or fewer relations than one'
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
    contract.kind,
    (SELECT min(doubts.doubt) FROM doubts WHERE doubts.name = contract.name) AS read_whole,
    (
        SELECT
            json_agg(
                json_build_object(
                    'name', c.attname,
                    'declared', format_type(c.atttypid, c.atttypmod),
                    'holds', CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN b.typname ELSE t.typname END
                )
            )::text
        FROM pg_attribute AS c
        INNER JOIN pg_type AS t ON t.oid = c.atttypid
        LEFT JOIN pg_type AS b ON b.oid = t.typbasetype
        WHERE
            c.attrelid = contract.oid
            AND (c.attnum > 0 OR c.attname IN ('xmin', 'tableoid'))
            AND NOT c.attisdropped
    ) AS columns
FROM contract
