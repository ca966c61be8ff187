"""What the pipeline remembers in the schema analytics."""
