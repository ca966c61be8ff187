-- Drop a month with its lines.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
DROP TABLE {partition}
