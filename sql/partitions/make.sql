-- A table for the lines of one month, not yet a partition.
-- Takes: partition (in braces, an identifier).
-- Gives: nothing.
CREATE TABLE {partition} (
    LIKE orchestration.execution_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION
)
