-- Whether some rows of a view have no version.
-- Takes: {relation}, a relation of the contract.
-- Gives: one row: impossible boolean. Of a thousand rows, one has an xmin of NULL or 0, which no transaction has.
SELECT coalesce(bool_or(coalesce(shown.version, '0') = '0'), false) AS impossible
FROM (SELECT r.xmin::text AS version FROM orchestration.{relation} AS r LIMIT 1000) AS shown
