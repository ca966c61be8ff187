"""Dagster's view of the pipelines: every function here hands its work down."""
