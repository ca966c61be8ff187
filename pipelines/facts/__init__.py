"""The Delta tables of facts: what they hold, what changed, whether they are sound."""
