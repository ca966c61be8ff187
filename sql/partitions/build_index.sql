-- Build an index on one partition while others write to it; outside of a transaction.
-- Takes: name (an identifier without a schema, for an index has its table's), partition (an identifier), method (as the
--        catalog says it), all in braces.
-- Gives: nothing.
CREATE INDEX CONCURRENTLY {name} ON {partition} {method}
