-- The condition that limits digest.sql to recent days of creation.
-- Takes: execmetrics.created_since timestamptz, the first moment of a UTC day.
-- Gives: a job j that was created then or later.
AND j.created_at >= (SELECT current_setting('execmetrics.created_since')::timestamptz)
