-- Remember how far the source has been read for these organizations.
-- Takes: organization_ids uuid[], horizon bigint, incarnation text, swept_at timestamptz.
-- Gives: nothing that is read.
INSERT INTO analytics.extraction_cursors (organization_id, horizon, incarnation, swept_at)
SELECT organization_id, %(horizon)s, %(incarnation)s, %(swept_at)s
FROM unnest(%(organization_ids)s::uuid[]) AS scope (organization_id)
ORDER BY organization_id
ON CONFLICT (organization_id) DO UPDATE
SET horizon = excluded.horizon, incarnation = excluded.incarnation, swept_at = excluded.swept_at
