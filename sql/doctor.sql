-- What the catalog of a source says of its relations.

-- name: functions
-- Which functions that a refresh calls a role may not call, or the server does not have.
-- Takes: role text (whose rights).
-- Gives: one row per such function: signature text, present boolean.
SELECT needed.signature, to_regprocedure(needed.signature) IS NOT NULL AS present
FROM unnest(ARRAY[
    'hash_record_extended(record, bigint)', 'pg_control_system()', 'pg_control_checkpoint()',
    'pg_control_recovery()', 'pg_walfile_name(pg_lsn)', 'pg_current_wal_lsn()', 'pg_is_in_recovery()',
    'pg_current_snapshot()', 'pg_snapshot_xmin(pg_snapshot)'
]) AS needed (signature)
WHERE NOT coalesce(has_function_privilege(%(role)s::name, to_regprocedure(needed.signature)::oid, 'EXECUTE'), false)
ORDER BY needed.signature

-- name: hidden_rows
-- In which relations row-level security may hide rows from the role that reads them.
-- Takes: relations bigint[] and readers text[], side by side.
-- Gives: one row per such pair: relation, reader, restricted (whether a restrictive policy is among the reasons,
--        which no further policy undoes).
SELECT asked.relation::bigint AS relation, asked.reader, coalesce(bool_or(NOT p.polpermissive), false) AS restricted
FROM unnest(%(relations)s::oid[], %(readers)s::text[]) AS asked (relation, reader)
INNER JOIN pg_class AS c ON c.oid = asked.relation AND c.relrowsecurity
INNER JOIN pg_roles AS r ON r.rolname = asked.reader AND NOT r.rolsuper AND NOT r.rolbypassrls
LEFT JOIN pg_policy AS p
    ON p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND EXISTS (
        SELECT FROM unnest(p.polroles) AS meant (oid) WHERE meant.oid = 0 OR pg_has_role(r.oid, meant.oid, 'USAGE')
    )
WHERE c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE')
GROUP BY asked.relation, asked.reader
HAVING NOT coalesce(bool_and(p.polpermissive) AND bool_or(pg_get_expr(p.polqual, p.polrelid) = 'true'), false)

-- name: plan_of_lookup
-- How the server would look jobs up by one column, if it could choose any index.
-- Takes: in their places, {column} (its name) and {sought} (a comparison with what the planner does not know yet).
-- Gives: one row: the plan as JSON; no job is read.
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT FROM orchestration.jobs AS j WHERE j.{column} {sought}

-- name: relations
-- The tables and views of some schemas, and the tables that the contract's views read, wherever those are.
-- Takes: role text (whose rights), schemas text[] (of which every relation), contract text (the schema of the
--        contract, of which what its views read).
-- Gives: one row per relation, partitions that no such view reads left out: oid, schema, name, kind, owner, usable
--        (its schema), owned (by a role whose rights it has), asks_its_reader, definition (of a view, else ''),
--        bytes (its partitions included, 0 for a view), and each as JSON:
--        columns (those of the row version included, none of their values) by name: name, declared, holds (a word
--        of the contract's `Holds`), nullable, default, labels (of an enum), readable;
--        indexes: name, begins_with (its first column, NULL for an expression), valid (false for one that was not
--        finished, or that holds a part of the rows only);
--        reads (what a view reads of these relations): oid, unreadable (the columns that its reader may not read).
WITH read AS (
    SELECT v.relnamespace AS schema, v.oid AS view, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_class AS v
    INNER JOIN pg_rewrite AS r ON r.ev_class = v.oid AND v.relkind IN ('v', 'm')
    INNER JOIN pg_depend AS d
        ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
),
found AS (
    SELECT
        c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
        pg_get_userbyid(c.relowner)::text AS owner,
        has_schema_privilege(%(role)s::name, n.oid, 'USAGE') AS usable,
        pg_has_role(%(role)s::name, c.relowner, 'USAGE') AS owned,
        coalesce(
            c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false
        ) AS asks_its_reader,
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END AS definition,
        coalesce(
            (SELECT sum(pg_table_size(tree.relid)) FROM pg_partition_tree(c.oid) AS tree),
            CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END
        )::bigint AS bytes
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE
        c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND (
            (n.nspname = ANY (%(schemas)s) AND NOT c.relispartition)
            OR c.oid IN (SELECT r.relation FROM read AS r WHERE r.schema = to_regnamespace(%(contract)s))
        )
)
SELECT
    f.*,
    (
        SELECT coalesce(json_object_agg(each.name, each), '{}') FROM (
            SELECT
                c.attname AS name,
                format_type(c.atttypid, c.atttypmod) AS declared,
                CASE
                    WHEN t.typtype = 'e' THEN 'enum'
                    WHEN b.typname IN ('uuid', 'timestamp', 'timestamptz') THEN b.typname::text
                    WHEN b.typname IN ('text', 'varchar', 'bpchar', 'citext') THEN 'text'
                    WHEN b.typname IN ('int2', 'int4', 'int8') THEN 'integer'
                    ELSE 'other'
                END AS holds,
                NOT (c.attnotnull OR t.typnotnull) AS nullable,
                coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS "default",
                ARRAY(SELECT e.enumlabel FROM pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels,
                has_column_privilege(%(role)s::name, c.attrelid, c.attnum, 'SELECT') AS readable
            FROM pg_attribute AS c
            INNER JOIN pg_type AS t ON t.oid = c.atttypid
            INNER JOIN pg_type AS b ON b.oid = CASE t.typbasetype WHEN 0 THEN t.oid ELSE t.typbasetype END
            LEFT JOIN pg_attrdef AS d ON d.adrelid = c.attrelid AND d.adnum = c.attnum
            WHERE c.attrelid = f.oid AND (c.attnum > 0 OR c.attname IN ('xmin', 'tableoid')) AND NOT c.attisdropped
            ORDER BY c.attnum
        ) AS each
    ) AS columns,
    (
        SELECT coalesce(jsonb_agg(each), '[]') FROM (
            SELECT c.relname AS name, a.attname AS begins_with, i.indisvalid AND i.indpred IS NULL AS valid
            FROM pg_index AS i
            INNER JOIN pg_class AS c ON c.oid = i.indexrelid
            LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attnum > 0
            WHERE i.indrelid = f.oid
            ORDER BY 1
        ) AS each
    ) AS indexes,
    (
        SELECT coalesce(jsonb_agg(each), '[]') FROM (
            SELECT
                a.attrelid::bigint AS oid,
                coalesce(array_agg(DISTINCT a.attname) FILTER (WHERE NOT has_column_privilege(
                    CASE WHEN f.asks_its_reader THEN %(role)s::text ELSE f.owner END::name,
                    a.attrelid, a.attnum, 'SELECT'
                )), '{}') AS unreadable
            FROM read AS r
            INNER JOIN pg_attribute AS a ON a.attrelid = r.relation AND a.attnum = r.number AND a.attnum <> 0
            WHERE r.view = f.oid AND a.attrelid <> f.oid AND a.attrelid IN (SELECT found.oid FROM found)
            GROUP BY 1
            ORDER BY 1
        ) AS each
    ) AS reads
FROM found AS f
ORDER BY f.schema, f.name

-- name: role
-- Whose rights are looked at, and what this database is.
-- Takes: role text, NULL for the role that is connected; in a session that did not choose its time zone.
-- Gives: one row: role text, present boolean, database text, in_utc boolean (whether sessions are in UTC unless
--        they say otherwise).
SELECT
    coalesce(%(role)s, current_user)::text AS role,
    EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = coalesce(%(role)s, current_user)) AS present,
    current_database()::text AS database,
    lower(current_setting('TimeZone')) IN ('utc', 'etc/utc', 'gmt', 'etc/gmt', 'uct', 'zulu', 'universal') AS in_utc

-- name: unknown_statuses
-- Which statuses jobs really have that the contract does not know.
-- Takes: in their places, {jobs} (a relation), {status} (its column) and {known} (an array of texts).
-- Gives: one row per such status, the most frequent first: label, jobs.
SELECT j.{status}::text AS label, count(*) AS jobs
FROM {jobs} AS j
WHERE j.{status}::text <> ALL ({known})
GROUP BY 1
ORDER BY 2 DESC, 1
