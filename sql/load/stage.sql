-- Where recomputed cells wait for the upsert; gone with the transaction.
-- Takes: nothing.
-- Gives: the empty table staged_cells; a cell without executions says that no job is left in it.
CREATE TEMPORARY TABLE staged_cells (LIKE analytics.aggregate_metrics) ON COMMIT DROP
