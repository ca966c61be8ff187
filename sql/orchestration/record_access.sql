-- Say who is about to read rows of a tenant that may hold personal health data, and why.
-- Takes: organization_id uuid, accessed_by text, accessed text (the table, and the column if it is one), job_id uuid (may
--        be NULL), purpose text.
-- Gives: nothing.
INSERT INTO orchestration.phi_access_log (organization_id, accessed_by, accessed, job_id, purpose)
VALUES (%(organization_id)s, %(accessed_by)s, %(accessed)s, %(job_id)s, %(purpose)s)
