-- Write two hundred jobs anew, as they are.
-- Takes: nothing. Gives: how many it wrote.
UPDATE orchestration.jobs SET updated_at = updated_at
WHERE id IN (SELECT id FROM orchestration.jobs ORDER BY id LIMIT 200)
