-- How the server would look jobs up by one column, if it could choose any index.
-- Takes: in their places, {column} (its name) and {sought} (a comparison with what the planner does not know yet).
-- Gives: one row: the plan as JSON; no job is read.
EXPLAIN (COSTS OFF, FORMAT JSON)
SELECT
FROM orchestration.jobs AS j
WHERE j.{column} {sought}
