-- The end of steps.sql that asks for lines by their ids.
-- Takes: execmetrics.log_ids uuid[], not too many at once.
-- Gives: a line l with such an id, found by the primary key of each partition.
WHERE l.id IN (SELECT unnest(current_setting('execmetrics.log_ids')::uuid[]))
