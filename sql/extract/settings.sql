-- Hand the values of a statement over as settings of the transaction, since bound parameters would
-- take the read off COPY.
-- Takes: $1 cursors, $2 scope, $3 since, $4 until, $5 job_ids, all text.
-- Gives: nothing that is read.
SELECT
    set_config('execmetrics.cursors', $1, true),
    set_config('execmetrics.scope', $2, true),
    set_config('execmetrics.since', $3, true),
    set_config('execmetrics.until', $4, true),
    set_config('execmetrics.job_ids', $5, true)
