"""What the executions of one tenant said: lines of logs, and the repository of these."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, NamedTuple, TypedDict, Unpack
from uuid import UUID

from psycopg import Copy
from psycopg.types.json import Jsonb

from pipelines.errors import InvalidRange, RowRefused
from pipelines.executions.json_limits import checked_json
from pipelines.executions.log_archive import (
    Archive,
    LinesOfJob,
    count_levels,
    delete_from_archive,
    find_lines,
)
from pipelines.executions.transactions import Row, TenantRepository, asking, filled
from pipelines.postgres.statements import statement
from pipelines.subjects.steps import Level

_NOT_STORABLE: Final = "(a value cannot be stored in its column)"

# How many lines a page holds.
_ROWS: Final = 1_000

# The columns of execution_logs/copy_lines. An enum is sent as its text.
_TYPES: Final = (
    *("uuid", "uuid", "uuid", "int4", "timestamptz", "float8"),
    *("text", "text", "text", "jsonb"),
)

# The largest number that the column `sequence` holds.
_LAST_SEQUENCE: Final = 2**31 - 1

# No line is older or younger.
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)

_BY_GRAVITY: Final = tuple(Level)


@dataclass(frozen=True, kw_only=True)
class NewLogLine:
    """What a job says. `step_name` is the step that ended by it, if one did, and `duration_ms` its length."""

    job_id: UUID
    sequence: int
    level: Level
    timestamp: datetime
    step_name: str | None = None
    message: str | None = None
    duration_ms: float | None = None
    metadata: Any = None


@dataclass(frozen=True, kw_only=True)
class LogLine(NewLogLine):
    """The same once it is stored."""

    id: UUID

    @property
    def place(self) -> "LinePlace":
        """After which the next page begins."""
        return LinePlace(self.timestamp, self.sequence, self.id)


class LinePlace(NamedTuple):
    """Where a line stands among those of its job; the newest come first."""

    timestamp: datetime
    sequence: int
    id: UUID


class Range(TypedDict, total=False):
    """[since, until), with time zones; everything when it is not said. Of a deleted job only if asked for."""

    since: datetime
    until: datetime
    include_deleted: bool


class Page(Range, total=False):
    """The newest `rows` lines of a range, or those that go on `after` the last line of another page."""

    after: LinePlace | None
    rows: int


class ExecutionLogRepository(TenantRepository):
    """Lines of logs in the transaction of a unit of work, wherever they are by now: database or archive.

    Ranges are [since, until), with time zones; a range is answered from the months in it alone. Pages hold
    the newest lines first, and the next one begins `after` the place of the last line. Of a job that
    is deleted or someone else's there are no lines. Reading raises `AccessNotLogged`, `InvalidRange` and
    `LogArchiveUnusable`.
    """

    def create_many(self, lines: Iterable[NewLogLine]) -> int:
        """Write lines by COPY, all or none; return how many.

        Raises `JobNotVisible`, `JsonTooLarge`, `JsonNotStorable` and `RowRefused`: no line can be committed
        then, and what else the unit of work has written may be lost.
        """
        written, failure = 0, None
        copying = statement("execution_logs/copy_lines").encode()
        with asking(self._connection), self._connection.cursor() as cursor:
            with suppress(_CutOff), cursor.copy(copying) as copy:
                copy.set_types(_TYPES)
                try:
                    for line_id, line in zip(_new_ids(), lines, strict=False):
                        self._copy(copy, line_id, line)
                        written += 1
                except BaseException as failed:
                    failure = failed
                    raise _CutOff from None
            if failure:
                raise failure
        return written

    def find_by_job(
        self, job_id: UUID, *, level: Level | None = None, **page: Unpack[Page]
    ) -> tuple[LogLine, ...]:
        """A page of a job's log, or of its lines of one level."""
        if level is None:
            return self._page("of_any_level", job_id, _BY_GRAVITY, page)
        return self._page("of_one_level", job_id, (level,), page)

    def find_errors_by_job(
        self, job_id: UUID, *, with_warnings: bool = False, **page: Unpack[Page]
    ) -> tuple[LogLine, ...]:
        """A page of what went wrong in a job: ERROR and FATAL, and WARN if asked for."""
        gravest = _BY_GRAVITY.index(Level.WARN if with_warnings else Level.ERROR)
        return self._page("of_problems", job_id, _BY_GRAVITY[gravest:], page)

    def get_level_counts(self, job_id: UUID, **range_: Unpack[Range]) -> Mapping[Level, int]:
        """How many lines of each level a job's log has, those without any included."""
        asked, values = self._asked(job_id, range_)
        self._accesses.record("execution_logs", job_id=job_id)
        counts = dict.fromkeys(Level, 0)
        for row in self._rows("execution_logs/get_level_counts", **values):
            counts[Level(row["level"])] += row["lines"]
        for archive in self._archives(values):
            for name, lines in count_levels(archive, asked).items():
                counts[Level(name)] += lines
        return counts

    def delete_by_job(self, job_id: UUID) -> int:
        """Delete a job's log for good, the archived part of it too; return how many lines there were."""
        (row,) = self._rows("execution_logs/delete_by_job", job_id=job_id)
        deleted = int(row["lines"])
        for row in self._rows("log_partitions/archives", {"lock": "FOR UPDATE"}):
            archive = Archive(**row)
            smaller = delete_from_archive(archive, self._tenant.organization_id, job_id)
            if smaller:
                self._rows("log_partitions/replace_archive", **vars(smaller))
                deleted += archive.rows - smaller.rows
        return deleted

    def _page(self, wanted: str, job_id: UUID, levels: Sequence[Level], page: Page) -> tuple[LogLine, ...]:
        asked, values = self._asked(job_id, page)
        # Every line is older than `until`, so that nothing is left out after this place.
        place = page.get("after") or LinePlace(asked.until, 0, job_id)
        rows = page.get("rows", _ROWS)
        after = {f"after_{name}": value for name, value in place._asdict().items()}
        places = {"wanted": filled(f"execution_logs/{wanted}")}
        self._accesses.record("execution_logs", job_id=job_id)
        # In this order: what has been read is locked against being archived meanwhile.
        found = self._rows(
            "execution_logs/find_page", places, **values | after | {"level": levels[0], "rows": rows}
        )
        lines = [_line_of(row) for row in found]
        for archive in self._archives(values):
            # The lines of an older month cannot come before the last one of a page that is full.
            if len(lines) == rows and lines[-1].timestamp >= archive.until:
                break
            archived = map(_line_of, find_lines(archive, asked, levels, place, rows))
            lines = sorted([*lines, *archived], key=lambda line: line.place, reverse=True)[:rows]
        return tuple(lines)

    def _asked(self, job_id: UUID, range_: Range | Page) -> tuple[LinesOfJob, dict[str, Any]]:
        """What is asked for, and the same as the values of a statement. Raises `InvalidRange`."""
        since, until = range_.get("since", _EARLIEST), range_.get("until", _LATEST)
        if since.tzinfo is None or until.tzinfo is None or since >= until:
            raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
        asked = LinesOfJob(self._tenant.organization_id, job_id, since, until)
        return asked, vars(asked) | {"include_deleted": range_.get("include_deleted", False)}

    def _archives(self, values: Mapping[str, Any]) -> Iterator[Archive]:
        for row in self._rows("execution_logs/archived_months", **values):
            yield Archive(**row)

    def _copy(self, copy: Copy, line_id: UUID, line: NewLogLine) -> None:
        metadata = checked_json(line.metadata, "execution_logs.metadata", self._settings)
        try:
            # A number above the limit would be sent as another one.
            if abs(line.sequence) > _LAST_SEQUENCE:
                raise RowRefused(_NOT_STORABLE)
            copy.write_row(
                (
                    *(line_id, self._tenant.organization_id, line.job_id, line.sequence, line.timestamp),
                    *(line.duration_ms, line.level, line.step_name, line.message),
                    None if metadata is None else Jsonb(metadata, dumps=str.encode),
                )
            )
        # Half a surrogate pair, a time without a zone, a number that is none. Their words hold the value.
        except (UnicodeEncodeError, TypeError, OverflowError):
            raise RowRefused(_NOT_STORABLE) from None


class _CutOff(Exception):
    """Said to the server instead of a failure's own words, which may hold values, and which it would log."""


def _new_ids() -> Iterator[UUID]:
    """Yield UUIDs of version 7, each after the one before, so that their index grows at its end."""
    # Milliseconds, then 74 random bits, of which the last 62 count; the highest of those begins as 0.
    begun, somewhere = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10))
    high, low = begun << 16 | 7 << 12 | somewhere >> 68, 2 << 62 | somewhere & (1 << 61) - 1
    for number in count(high << 64 | low):
        yield UUID(int=number)


def _line_of(row: Row) -> LogLine:
    return LogLine(**row | {"level": Level(row["level"])})
