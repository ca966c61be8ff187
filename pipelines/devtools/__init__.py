"""Data for development: a generated month, traces."""
