"""From the facts to the aggregates."""
