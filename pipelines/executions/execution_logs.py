"""What the executions of one tenant said."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from pipelines.errors import InvalidRange
from pipelines.executions.execution_records import LinePlace, LogLine, NewLogLine
from pipelines.executions.json_limits import checked_json_of_many
from pipelines.executions.log_archive import Archive, count_levels, delete_from_archive, find_lines
from pipelines.executions.log_copying import copy_lines
from pipelines.executions.of_tenant import OfTenant
from pipelines.executions.transactions import Row
from pipelines.subjects.steps import Level

# So many lines fit a page.
_ROWS: Final = 1_000

# The metadata of so many lines is made JSON at once, if those before were no more bytes than this.
_WRITTEN_AT_ONCE: Final = 100
_WRITTEN_BYTES: Final = 1 << 18

# No line is older or younger.
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)

_BY_GRAVITY: Final = tuple(Level)


class ExecutionLogRepository(OfTenant):
    """Lines of logs in the transaction of a unit of work, wherever they are by now: database or archive.

    Ranges are [since, until), with time zones; a range is answered from the months in it alone. Pages hold
    the newest lines first, and the next one begins `after` the place of the last line. Of a job that
    is deleted or someone else's there are no lines. Reading raises `AccessNotLogged`, `InvalidRange` and
    `LogArchiveUnusable`.
    """

    def create_many(self, lines: Iterable[NewLogLine]) -> int:
        """Write lines by COPY, all or none; return how many. Large batches are written fastest.

        Raises `JobNotVisible`, `JsonTooLarge`, `JsonNotStorable` and `RowRefused`: no line can be committed
        then, and what else the unit of work has written may be lost.
        """
        return copy_lines(self._connection, self._tenant.organization_id, self._with_metadata(lines))

    def find_by_job(
        self,
        job_id: UUID,
        *,
        level: Level | None = None,
        since: datetime = _EARLIEST,
        until: datetime = _LATEST,
        after: LinePlace | None = None,
        rows: int = _ROWS,
        include_deleted: bool = False,
    ) -> tuple[LogLine, ...]:
        """A page of a job's log, or of its lines of one level."""
        levels = _BY_GRAVITY if level is None else (level,)
        asked = {"level": level} if level else {}
        statement = "find_by_job_at_level" if level else "find_by_job"
        return self._page(
            statement, job_id, levels, since, until, after, rows, include_deleted=include_deleted, **asked
        )

    def find_errors_by_job(
        self,
        job_id: UUID,
        *,
        with_warnings: bool = False,
        since: datetime = _EARLIEST,
        until: datetime = _LATEST,
        after: LinePlace | None = None,
        rows: int = _ROWS,
        include_deleted: bool = False,
    ) -> tuple[LogLine, ...]:
        """A page of what went wrong in a job: ERROR and FATAL, and WARN if asked for."""
        gravest = _from(Level.WARN if with_warnings else Level.ERROR)
        return self._page(
            "find_errors_by_job",
            job_id,
            gravest,
            since,
            until,
            after,
            rows,
            include_deleted=include_deleted,
            from_level=gravest[0],
        )

    def get_level_counts(
        self,
        job_id: UUID,
        *,
        since: datetime = _EARLIEST,
        until: datetime = _LATEST,
        include_deleted: bool = False,
    ) -> Mapping[Level, int]:
        """How many lines of each level a job's log has, those without any included."""
        asked = _range(since, until) | {"job_id": job_id, "include_deleted": include_deleted}
        self._accesses.record("execution_logs", job_id=job_id)
        counts = dict.fromkeys(Level, 0)
        for row in self._rows("execution_logs/get_level_counts", **asked):
            counts[Level(row["level"])] += row["lines"]
        for archive in self._archives(asked):
            counted = count_levels(archive, self._tenant.organization_id, job_id, since, until)
            for name, lines in counted.items():
                counts[Level(name)] += lines
        return counts

    def delete_by_job(self, job_id: UUID) -> int:
        """Delete a job's log for good, the archived part of it too; return how many lines there were."""
        ((deleted,),) = (row.values() for row in self._rows("execution_logs/delete_by_job", job_id=job_id))
        for row in self._rows("log_partitions/lock_archive"):
            archive = _archive_of(row)
            smaller = delete_from_archive(archive, self._tenant.organization_id, job_id)
            if smaller:
                self._rows("log_partitions/replace_archive", **smaller.columns)
                deleted += archive.rows - smaller.rows
        return int(deleted)

    def _page(
        self,
        statement: str,
        job_id: UUID,
        levels: Sequence[Level],
        since: datetime,
        until: datetime,
        after: LinePlace | None,
        rows: int,
        **values: Any,
    ) -> tuple[LogLine, ...]:
        asked = _range(since, until) | values | {"job_id": job_id, "rows": rows}
        # Every line is older than `until`, so that nothing is left out after this place.
        place = after or LinePlace(until, 0, job_id)
        asked |= {
            "after_timestamp": place.timestamp,
            "after_sequence": place.sequence,
            "after_id": place.id,
        }
        self._accesses.record("execution_logs", job_id=job_id)
        # In this order: what has been read is locked against being archived meanwhile.
        lines = [_line_of(row) for row in self._rows(f"execution_logs/{statement}", **asked)]
        for archive in self._archives(asked):
            # The lines of an older month cannot come before the last one of a page that is full.
            if len(lines) == rows and lines[-1].timestamp >= archive.until:
                break
            found = find_lines(
                archive,
                self._tenant.organization_id,
                job_id,
                since,
                until,
                levels=levels,
                before=(place.timestamp, place.sequence, place.id),
                rows=rows,
            )
            both = sorted([*lines, *map(_line_of, found)], key=lambda line: line.place, reverse=True)
            lines = both[:rows]
        return tuple(lines)

    def _archives(self, asked: Mapping[str, Any]) -> Iterator[Archive]:
        names = ("organization_id", "job_id", "since", "until", "include_deleted")
        values = {name: asked[name] for name in names if name in asked}
        for row in self._rows("execution_logs/archived_months", **values):
            yield _archive_of(row)

    def _with_metadata(self, lines: Iterable[NewLogLine]) -> Iterator[tuple[NewLogLine, bytes | None]]:
        unwritten, at_once = iter(lines), 1
        while some := list(islice(unwritten, at_once)):
            values = [line.metadata for line in some]
            written = checked_json_of_many(values, "execution_logs.metadata", self._settings)
            yield from zip(some, written, strict=True)
            small = sum(map(len, filter(None, written))) < _WRITTEN_BYTES
            at_once = min(2 * at_once, _WRITTEN_AT_ONCE) if small else 1


def _range(since: datetime, until: datetime) -> dict[str, Any]:
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
    return {"since": since, "until": until}


def _from(level: Level) -> tuple[Level, ...]:
    return tuple(islice(_BY_GRAVITY, _BY_GRAVITY.index(level), None))


def _archive_of(row: Row) -> Archive:
    return Archive(row["archive_reference"], row["archived_rows"], row["month_start"], row["month_end"])


def _line_of(row: Row) -> LogLine:
    return LogLine(
        id=row["id"],
        job_id=row["job_id"],
        sequence=row["sequence"],
        level=Level(row["level"]),
        timestamp=row["timestamp"],
        step_name=row["step_name"],
        message=row["message"],
        duration_ms=row["duration_ms"],
        metadata=row["metadata"],
    )
