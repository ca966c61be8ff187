-- Where cells of organizations without any wait for a moment; gone with the session.
-- Takes: nothing.
-- Gives: the empty table first_cells.
CREATE TEMPORARY TABLE IF NOT EXISTS first_cells (LIKE analytics.aggregate_metrics) ON COMMIT DELETE ROWS
