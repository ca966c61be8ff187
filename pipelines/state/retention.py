"""What retention settings have removed, and removing it: it is not written again."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from psycopg import Connection

from pipelines.postgres.statements import statement
from pipelines.postgres.subject_statements import subject_statement
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

# What was removed of restatements is remembered beside the periods, under this name.
RESTATEMENTS: Final = "restatements"


def find_removed_before(connection: Connection) -> dict[Period, datetime]:
    """The periods whose old cells were removed, and from when on they are kept."""
    rows = connection.execute(statement("state/removed_before")).fetchall()
    return {Period(name): removed_before for name, removed_before in rows if name != RESTATEMENTS}


def remove_cells(
    connection: Connection, subjects: Iterable[Subject], period: Period, before: datetime
) -> dict[str, int]:
    """Remove the cells of a period that begin before a moment, for good; return how many by subject."""
    values = {"period": period, "before": before}
    connection.execute(statement("state/remember_removal"), values)
    removed = {}
    for subject in subjects:
        text = subject_statement("publish/remove_old_cells", subject)
        rows = connection.execute(text, values | {"subject": subject.name}).fetchall()
        removed[subject.name] = int(rows[0][0])
    return removed


def remove_restatements(connection: Connection, before: datetime) -> int:
    """Remove restatements that are older; return how many."""
    values = {"period": RESTATEMENTS, "before": before}
    connection.execute(statement("state/remember_removal"), values)
    return connection.execute(statement("state/remove_old_restatements"), values).rowcount


def remove_outcomes(connection: Connection, before: datetime) -> int:
    """Remove outcomes that are older, except each organization's newest; return how many."""
    return connection.execute(statement("state/remove_old_outcomes"), {"before": before}).rowcount
