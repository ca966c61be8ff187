-- Keep writers of logs waiting, and no readers: whoever writes next finds the partition.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE ONLY orchestration.execution_logs IN EXCLUSIVE MODE
