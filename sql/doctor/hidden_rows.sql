-- In which relations row-level security may hide rows from who reads them.
-- Takes: relations bigint[] and readers text[], side by side.
-- Gives: one row per such pair: relation, reader, restricted (whether a restrictive policy is among the reasons,
--        which no further policy undoes).
WITH policies AS (
    SELECT
        asked.relation,
        asked.reader,
        coalesce(bool_or(NOT p.polpermissive), false) AS restricted,
        coalesce(bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true'), false) AS opened
    FROM unnest(%(relations)s::oid[], %(readers)s::text[]) AS asked (relation, reader)
    INNER JOIN pg_class AS c ON c.oid = asked.relation AND c.relrowsecurity
    INNER JOIN pg_roles AS r ON r.rolname = asked.reader AND NOT r.rolsuper AND NOT r.rolbypassrls
    LEFT JOIN pg_policy AS p
        ON
            p.polrelid = c.oid
            AND p.polcmd IN ('r', '*')
            AND EXISTS (
                SELECT FROM unnest(p.polroles) AS meant (oid)
                WHERE meant.oid = 0 OR pg_has_role(r.oid, meant.oid, 'USAGE')
            )
    WHERE c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE')
    GROUP BY asked.relation, asked.reader
)
SELECT
    policies.relation::bigint AS relation,
    policies.reader,
    policies.restricted
FROM policies
WHERE policies.restricted OR NOT policies.opened
