-- Keep writers of jobs waiting: a partition that is added is added to the foreign key as well.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.jobs IN SHARE ROW EXCLUSIVE MODE
