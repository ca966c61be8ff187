-- Hand the values of the oracle over as settings of the transaction.
-- Takes: $1 organizations, $2 since, $3 until, $4 earliest, $5 tolerance, all text.
-- Gives: nothing that is read.
SELECT
    set_config('execmetrics.organizations', $1, true),
    set_config('execmetrics.since', $2, true),
    set_config('execmetrics.until', $3, true),
    set_config('execmetrics.earliest', $4, true),
    set_config('execmetrics.tolerance', $5, true)
