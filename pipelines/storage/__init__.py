"""The only place that talks to databases and files."""
