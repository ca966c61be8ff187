-- Move the lines of one month out of the partition for whatever has none.
-- Takes: partition (an identifier), since and until (literals), all in braces.
-- Gives: the number of lines moved.
WITH moved AS (
    DELETE FROM orchestration.execution_logs_default
    WHERE timestamp >= {since} AND timestamp < {until}
    RETURNING *
)

INSERT INTO {partition} SELECT * FROM moved
