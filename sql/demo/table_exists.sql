-- Takes: name text. Gives: whether there is such a table.
SELECT to_regclass(%(name)s) IS NOT NULL
