-- Keep keys and triggers of the logs as they are until the transaction ends; other writers are not in the way.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.execution_logs IN ROW EXCLUSIVE MODE
