-- Give a definition its number, unless it has one.
-- Takes: definition text.
-- Gives: nothing that is read.
INSERT INTO analytics.metric_definitions (definition_version, definition, first_used_at)
SELECT coalesce(max(definition_version), 0) + 1, %(definition)s, now()
FROM analytics.metric_definitions
ON CONFLICT (definition) DO NOTHING
