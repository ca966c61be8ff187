"""What Dagster sees: the two tables, when they are refreshed, and how to tell that they are right."""
