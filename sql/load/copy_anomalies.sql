-- Copy anomalies into the staging table.
-- Takes: rows as text, columns in this order.
-- Gives: nothing.
COPY staged_anomalies (job_id, organization_id, reason, effect, detail) FROM STDIN
