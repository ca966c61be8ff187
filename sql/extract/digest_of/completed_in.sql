-- The condition that limits digest.sql to a range of completion.
-- Takes: execmetrics.completed_since (inclusive) and execmetrics.completed_until (exclusive), timestamptz.
-- Gives: a job j that completed within.
AND j.completed_at >= (SELECT current_setting('execmetrics.completed_since')::timestamptz)
AND j.completed_at < (SELECT current_setting('execmetrics.completed_until')::timestamptz)
