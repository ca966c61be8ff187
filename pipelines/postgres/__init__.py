"""Connections, statements, migrations and tables of PostgreSQL."""
