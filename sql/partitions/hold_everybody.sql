-- Keep readers and writers of logs waiting.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE ONLY orchestration.execution_logs IN ACCESS EXCLUSIVE MODE
