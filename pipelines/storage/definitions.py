"""`analytics.metric_definitions`: the number that stands for a definition in every row."""

import psycopg

from pipelines.storage.statements import statement


def version_of(connection: psycopg.Connection, definition: str) -> int:
    """The number of this definition, given out now if it is a new one."""
    connection.execute(statement("load/settle_definition.sql"), {"definition": definition})
    version = find_version(connection, definition)
    assert version is not None
    return version


def find_version(connection: psycopg.Connection, definition: str) -> int | None:
    """The number of this definition, or None if nothing was computed by it yet."""
    values = {"definition": definition}
    row = connection.execute(statement("read/definition_version.sql"), values).fetchone()
    return int(row[0]) if row else None
