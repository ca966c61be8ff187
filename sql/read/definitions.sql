-- Every definition that was ever used.
-- Takes: nothing.
-- Gives: definition_version integer, definition text.
SELECT definition_version, definition FROM analytics.metric_definitions
