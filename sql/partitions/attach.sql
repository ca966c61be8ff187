-- Make a table the partition of its month: keys, foreign key and indexes come with it.
-- Takes: partition (an identifier), since and until (literals), all in braces.
-- Gives: nothing.
ALTER TABLE orchestration.execution_logs ATTACH PARTITION {partition} FOR VALUES FROM ({since}) TO ({until})
