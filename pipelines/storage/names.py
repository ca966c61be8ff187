"""The names dashboards show, copied from the source because in production it is another database."""

from typing import Final

import polars as pl
import psycopg

from pipelines.storage.frames import uuids
from pipelines.storage.source import Names
from pipelines.storage.statements import statement

_ID_COLUMNS: Final = ("id", "organization_id")


def copy_names(connection: psycopg.Connection, names: Names) -> int:
    """Upsert organizations, workflows and clients; return how many rows changed."""
    return sum(
        _upsert(connection, f"load/upsert_{kind}.sql", frame)
        for kind, frame in (
            ("organizations", names.organizations),
            ("workflows", names.workflows),
            ("clients", names.clients),
        )
    )


def _upsert(connection: psycopg.Connection, path: str, frame: pl.DataFrame) -> int:
    if frame.is_empty():
        return 0
    values = {
        name: uuids(frame[name]) if name in _ID_COLUMNS else frame[name].to_list() for name in frame.columns
    }
    return connection.execute(statement(path), values).rowcount
