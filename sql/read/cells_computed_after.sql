-- How many cells were written since somebody last looked.
-- Takes: after timestamptz, NULL for the beginning.
-- Gives: one row: newest timestamptz (when the last cell was written, NULL without cells), cells bigint
--        (those written after it), all_cells bigint.
SELECT
    max(computed_at) AS newest,
    count(*) FILTER (WHERE computed_at > coalesce(%(after)s::timestamptz, '-infinity')) AS cells,
    count(*) AS all_cells
FROM analytics.aggregate_metrics
