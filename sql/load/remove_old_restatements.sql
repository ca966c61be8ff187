-- Remove restatements that were written before a moment.
-- Takes: before timestamptz.
-- Gives: one row per restatement removed.
DELETE FROM analytics.restatements WHERE restated_at < %(before)s
