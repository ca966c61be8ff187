-- Empty the staging table within its transaction.
-- Takes: the table staged_anomalies.
-- Gives: nothing that is read.
TRUNCATE staged_anomalies
