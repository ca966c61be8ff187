"""What retention settings have removed, and removing it: it is not written again."""

from datetime import datetime
from typing import Final

import psycopg

from pipelines.postgres.statements import statement
from pipelines.subjects.periods import Period

# What was removed of restatements is remembered beside the periods, under this name.
RESTATEMENTS: Final = "restatements"


def find_removed_before(connection: psycopg.Connection) -> dict[Period, datetime]:
    """The periods whose old cells were removed, and from when on they are kept."""
    rows = connection.execute(statement("state/removed_before")).fetchall()
    return {Period(name): removed_before for name, removed_before in rows if name != RESTATEMENTS}


def remove_cells(connection: psycopg.Connection, period: Period, before: datetime) -> int:
    """Remove the cells of a period that begin before a moment, for good; return how many were of jobs."""
    values = {"period": period, "before": before}
    connection.execute(statement("state/remember_removal"), values)
    connection.execute(statement("publish/remove_old_step_cells"), values)
    rows = connection.execute(statement("state/remove_old_cells"), values).fetchall()
    return int(rows[0][0])


def remove_restatements(connection: psycopg.Connection, before: datetime) -> int:
    """Remove restatements that are older; return how many."""
    values = {"period": RESTATEMENTS, "before": before}
    connection.execute(statement("state/remember_removal"), values)
    return connection.execute(statement("state/remove_old_restatements"), values).rowcount


def remove_outcomes(connection: psycopg.Connection, before: datetime) -> int:
    """Remove outcomes that are older, except each organization's newest; return how many."""
    return connection.execute(statement("state/remove_old_outcomes"), {"before": before}).rowcount
