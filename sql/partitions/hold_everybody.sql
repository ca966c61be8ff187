-- Keep readers and writers of logs waiting, if just now there are none.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE ONLY orchestration.execution_logs IN ACCESS EXCLUSIVE MODE NOWAIT
