"""From jobs in an orchestration database to one table of exact aggregates."""
