"""`analytics.metric_definitions`: the number that stands for a definition in every row."""

import psycopg

from pipelines.postgres.statements import statement


def version_of(connection: psycopg.Connection, definition: str) -> int:
    """The number of this definition, given out now if it is a new one."""
    connection.execute(statement("state/settle_definition"), {"definition": definition})
    version = find_version(connection, definition)
    assert version is not None
    return version


def find_version(connection: psycopg.Connection, definition: str) -> int | None:
    """The number of this definition, or None if nothing was computed by it yet."""
    values = {"definition": definition}
    row = connection.execute(statement("state/definition_version"), values).fetchone()
    return int(row[0]) if row else None
