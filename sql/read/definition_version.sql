-- The number of a definition.
-- Takes: definition text.
-- Gives: one row: definition_version integer; none if it was never used.
SELECT definition_version FROM analytics.metric_definitions WHERE definition = %(definition)s
