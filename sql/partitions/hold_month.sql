-- Keep writers of one month waiting, and no readers.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
LOCK TABLE {partition} IN SHARE ROW EXCLUSIVE MODE
