-- Keep everybody waiting who looks for lines without a month.
-- Takes: nothing.
-- Gives: nothing.
LOCK TABLE orchestration.execution_logs_default IN ACCESS EXCLUSIVE MODE
