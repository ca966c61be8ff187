-- Where anomalies wait to be listed or taken off the list; emptied by each commit, gone with the session.
-- Takes: nothing.
-- Gives: the empty table staged_anomalies.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_anomalies (
    job_id uuid, organization_id uuid, reason text, effect text, detail text
) ON COMMIT DELETE ROWS
