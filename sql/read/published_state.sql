-- How far each organization has been read and published.
-- Takes: nothing.
-- Gives: organization_id, horizon, incarnation, extracted_at, facts_table_id, facts_version; the
--        latter two NULL where nothing was published yet.
SELECT c.organization_id, c.horizon, c.incarnation, c.extracted_at, p.facts_table_id, p.facts_version
FROM analytics.extraction_cursors AS c
LEFT JOIN analytics.published_facts AS p USING (organization_id)
