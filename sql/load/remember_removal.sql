-- Remember what was removed of a period, or of restatements, so that it is neither written again nor missed.
-- Takes: period text ('restatements' for these), before timestamptz.
-- Gives: nothing that is read.
INSERT INTO analytics.retention AS kept (period, removed_before)
VALUES (%(period)s, %(before)s)
ON CONFLICT (period) DO UPDATE SET removed_before = greatest(kept.removed_before, excluded.removed_before)
