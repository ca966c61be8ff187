"""What is stored of a subject: by which definition, how many rows count, and of whom; and removing it."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import Connection

from pipelines.postgres.connections import Run
from pipelines.postgres.statements import statement
from pipelines.postgres.subject_statements import every_values, subject_statement
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

_ALWAYS: Final = "infinity"

# What was removed of restatements is remembered beside the periods, under this name.
RESTATEMENTS: Final = "restatements"


def count_rows(
    connection: Connection, subject: Subject, *, before: datetime | None = None
) -> dict[UUID, int]:
    """How many rows of each organization are counted: in all, or in days that begin before a moment."""
    values = {"period": Period.DAY if before else Period.MONTH, "before": before or _ALWAYS}
    text = subject_statement("publish/counted_rows", subject)
    return dict(connection.execute(text, {**every_values(subject), **values}).fetchall())


def find_with_cells(
    connection: Connection, subject: Subject, organization_ids: Collection[UUID]
) -> set[UUID]:
    """Those of these organizations that have cells."""
    if not organization_ids:
        return set()
    values = {"organization_ids": sorted(organization_ids)}
    text = subject_statement("publish/organizations_with_cells", subject)
    return {row[0] for row in connection.execute(text, values)}


def stored_cells(run: Run, subject: Subject) -> int:
    """How many cells are stored."""
    with run.analytics() as connection:
        row = connection.execute(subject_statement("publish/count_cells", subject)).fetchone()
    return int(row[0]) if row else 0


def version_of(connection: Connection, definition: str) -> int:
    """The number of this definition, given out now if it is a new one."""
    connection.execute(statement("state/settle_definition"), {"definition": definition})
    version = find_version(connection, definition)
    assert version is not None
    return version


def find_version(connection: Connection, definition: str) -> int | None:
    """The number of this definition, or None if nothing was computed by it yet."""
    used = connection.execute(statement("state/definitions")).fetchall()
    return next((version for version, text in used if text == definition), None)


def find_removed_before(connection: Connection) -> dict[Period, datetime]:
    """The periods whose old cells retention removed, and from when on they are kept."""
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
