-- What retention has removed.
-- Takes: nothing.
-- Gives: one row per period that anything was removed of: period ('restatements' for these), removed_before
--        timestamptz.
SELECT period, removed_before FROM analytics.retention
