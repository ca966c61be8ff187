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
