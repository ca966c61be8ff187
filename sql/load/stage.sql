-- Where recomputed cells wait for the upsert; emptied by each commit, and gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_cells; a cell without executions says that no job is left in it, and its
--        reason why it is written anew.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_cells (LIKE analytics.aggregate_metrics, reason text)
ON COMMIT DELETE ROWS
