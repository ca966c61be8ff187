"""The partitions of execution_logs: made ahead, indexed, filled with earlier lines, dropped when old."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, LiteralString, TypeVar

from psycopg import errors
from psycopg.rows import class_row, dict_row
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipelines.errors import LogPartitionsInUse
from pipelines.executions.log_archive import Archive, Month, archive_month
from pipelines.postgres.connections import Connection
from pipelines.postgres.schemas import ORCHESTRATION
from pipelines.postgres.statements import body, render, statement
from pipelines.settings import Settings

T = TypeVar("T")

# PostgreSQL looks for deadlocks after a second: whoever waits for us is served before that, and not cut off.
_PATIENCE: Final = "100ms"

# How long to wait before each further try; uneven, so as not to keep step with a program that always writes.
_PAUSES_S: Final = (0.01, 0.03, 0.07, 0.15, 0.31) * 8
# Each of these may write an archive.
_PAUSES_OF_A_DROP_S: Final = (0.1, 0.5, 2.5, 0)
_BRIEF_S: Final = (0.01,) * 20


def why_not_ours(connection: Connection) -> str | None:
    """A sentence when there are no logs here whose partitions this role may change; None when there are."""
    ((present, partitioned, owned),) = _all(connection, "standing")
    if not present:
        return "The source has no execution_logs, so there is nothing to do."
    if not partitioned:
        return "The source's execution_logs were made by another program, which keeps them itself."
    if not owned:
        return "The source's execution_logs belong to another role, so they are left alone."
    return None


def find_months(connection: Connection) -> list[Month]:
    """The months that have a partition, in order."""
    named = (Month.of_partition(name) for (name,) in _all(connection, "partitions"))
    return sorted(month for month in named if month)


def find_months_without(connection: Connection) -> dict[Month, int]:
    """The months of lines that are in no month's partition, and how many lines each has."""
    return {Month(year, number): lines for year, number, lines in _all(connection, "months_without")}


def make_partitions(connection: Connection, months: Iterable[Month]) -> dict[Month, int]:
    """Make the partitions that are missing; return them with how many lines were moved into each.

    Each in a transaction of its own over a connection that commits by itself. Nobody who writes meanwhile
    loses a line or is cut off: they wait for a moment. Raises `LogPartitionsInUse`.
    """
    missing = sorted(set(months) - set(find_months(connection)))
    made = {month: _in_turn(connection, partial(_make, connection, month)) for month in missing}
    return {month: moved for month, moved in made.items() if moved is not None}


def drop_month(
    connection: Connection,
    month: Month,
    archive_url: str | None,
    unpublished: Callable[[Month], str | None],
) -> str | None:
    """Archive a month if there is a place for it, and drop it; both are recorded with the drop, or neither.

    Its writers wait meanwhile, readers only for the drop. While `unpublished` gives a reason, the month is
    held back, and the reason is returned. Raises `LogPartitionsInUse`, `LogArchiveNotWritten` and
    `LogArchiveUnusable`.
    """
    work = partial(_drop, connection, month, archive_url, unpublished)
    return _in_turn(connection, work, _PAUSES_OF_A_DROP_S)


def complete_indexes(connection: Connection, settings: Settings) -> tuple[str, ...]:
    """Build what partitions lack of an index that was declared on the whole table with ON ONLY.

    Takes a connection that commits by itself; gives the names of what was built. It waits for transactions
    that are open, and nobody waits for it. What a build that was cut off has left is dropped and built anew.
    """
    milliseconds = round(settings.lock_timeout.total_seconds() * 1000)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
    with connection.cursor(row_factory=dict_row) as cursor:
        lacking = cursor.execute(statement("log_partitions/incomplete_indexes")).fetchall()
    for row in lacking:
        if row["leftover"]:
            connection.execute(_composed("drop_index", child=row["child"]))
        if not row["built"]:
            name, method = Identifier(row["child"]), SQL(row["method"])
            connection.execute(_composed("build_index", name=name, partition=row["partition"], method=method))
        connection.execute(_composed("attach_index", parent=row["parent"], child=row["child"]))
    return tuple(row["child"] for row in lacking)


def find_archives(connection: Connection) -> list[Archive]:
    """Every archive."""
    with connection.cursor(row_factory=class_row(Archive)) as cursor:
        return cursor.execute(render("log_partitions/archives", {"lock": ""}).encode()).fetchall()


def _composed(path: str, **parts: Composable | str) -> Composed:
    """A statement that defines something, names and bounds in their places; a text is a name of ours."""
    names = {
        name: Identifier(ORCHESTRATION, part) if isinstance(part, str) else part
        for name, part in parts.items()
    }
    return SQL(body(f"log_partitions/{path}")).format(**names)


def _make(connection: Connection, month: Month) -> int | None:
    # Whoever has written to one of them and wants another is waited for briefly, and then let by.
    connection.execute(statement("log_partitions/take_turns"))
    # A partition that is added is added to the foreign key as well.
    _lock(connection, "jobs", "SHARE ROW EXCLUSIVE MODE")
    # Readers go on; whoever writes next finds the partition.
    _lock(connection, "execution_logs", "EXCLUSIVE MODE")
    _lock(connection, "execution_logs_default", "ACCESS EXCLUSIVE MODE")
    if month in find_months(connection):
        return None
    bounds = {"since": Literal(month.start), "until": Literal(month.end)}
    connection.execute(_composed("make", partition=month.partition))
    moved = connection.execute(_composed("move", partition=month.partition, **bounds)).rowcount
    connection.execute(_composed("attach", partition=month.partition, **bounds))
    return moved


def _drop(
    connection: Connection, month: Month, archive_url: str | None, unpublished: Callable[[Month], str | None]
) -> str | None:
    connection.execute(statement("log_partitions/take_turns"))
    # From here on the month has the lines that it has.
    _lock(connection, month.partition, "SHARE ROW EXCLUSIVE MODE")
    reason = unpublished(month)
    if reason is not None:
        return reason
    dropped: dict[str, Any] = dict.fromkeys(("reference", "sha256", "rows"))
    dropped |= {"since": month.start, "until": month.end}
    if archive_url is not None:
        archives = {archive.month: archive for archive in find_archives(connection)}
        dropped = vars(archive_month(connection, archive_url, month, archives.get(month)))
    # Without waiting: somebody who waits for this month may have what is asked for here.
    hold = partial(_lock, connection, "execution_logs", "ACCESS EXCLUSIVE MODE NOWAIT")
    _in_turn(connection, hold, _BRIEF_S)
    connection.execute(statement("log_partitions/record_drop"), dropped)
    connection.execute(_composed("drop", partition=month.partition))
    return None


def _in_turn(connection: Connection, work: Callable[[], T], pauses_s: Sequence[float] | None = None) -> T:
    """Do it in a transaction, or a part of one, that waits only briefly for each lock, and try again."""
    for pause in _PAUSES_S if pauses_s is None else pauses_s:
        try:
            with connection.transaction():
                connection.execute(statement("log_partitions/be_brief"), {"patience": _PATIENCE})
                return work()
        except (errors.LockNotAvailable, LogPartitionsInUse):
            time.sleep(pause)
    raise LogPartitionsInUse


def _lock(connection: Connection, table: str, mode: LiteralString) -> None:
    connection.execute(_composed("lock", table=table, mode=SQL(mode)))


def _all(connection: Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement(f"log_partitions/{name}")).fetchall()
