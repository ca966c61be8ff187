-- Build an index on one partition while others write to it; outside of a transaction.
-- Takes: child and partition (identifiers), method (as the catalog says it), all in braces.
-- Gives: nothing.
CREATE INDEX CONCURRENTLY {child} ON {partition} {method}
