-- Let one finished job in a hundred end a little later: most of them, 95 in a hundred, from the newest day.
-- Takes: newest_day timestamptz, jobs bigint (how many to change).
-- Gives: one row per job changed.
WITH chosen AS (
    (
        SELECT id FROM orchestration.jobs
        WHERE completed_at >= %(newest_day)s AND status IN ('COMPLETED', 'FAILED')
        ORDER BY md5(id::text)
        LIMIT (0.95 * %(jobs)s)::bigint
    )
    UNION ALL
    (
        SELECT id FROM orchestration.jobs
        WHERE completed_at < %(newest_day)s AND status IN ('COMPLETED', 'FAILED')
        ORDER BY md5(id::text)
        LIMIT (0.05 * %(jobs)s)::bigint
    )
)
UPDATE orchestration.jobs
SET completed_at = completed_at + interval '137 milliseconds', updated_at = now()
WHERE id IN (SELECT id FROM chosen)
