-- Drop what a build that was cut off has left; outside of a transaction.
-- Takes: child (in braces, an identifier).
-- Gives: nothing.
DROP INDEX CONCURRENTLY {child}
