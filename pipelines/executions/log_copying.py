"""Lines of logs into their table by binary COPY, which costs the server half of what text does."""

import os
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Final, Protocol
from uuid import UUID

from pipelines.errors import RowRefused
from pipelines.executions.transactions import asking
from pipelines.postgres.connections import Connection
from pipelines.postgres.statements import statement

# PostgreSQL counts microseconds from here.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"

# Ten columns; each value is preceded by its length. Those of a fixed length come first.
_TIMED: Final = struct.Struct(">hiQQi16si16siiiqid").pack
_UNTIMED: Final = struct.Struct(">hiQQi16si16siiiqi").pack
_LENGTH: Final = struct.Struct(">i").pack

# jsonb says first which version of its format the text is in.
_JSONB: Final = b"\x01"

# Fewer lines are not worth a question.
_FEW: Final = 1_000

# So many bytes of lines wait until the key checks them, or it is known whether they are many.
_HELD: Final = 1 << 20

# So many jobs are remembered; whichever is forgotten is checked anew.
_JOBS: Final = 100_000

_KEY: Final = "execution_logs_job_is_of_the_same_organization"

# So many names of steps are not written anew for every line.
_NAMES: Final = 1_000

# So many bytes are sent at a time: while the server reads some, the next are made ready.
_BLOCK: Final = 1 << 16


class Line(Protocol):
    """What is stored of a line beside its metadata."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def sequence(self) -> int: ...

    @property
    def level(self) -> str: ...

    @property
    def timestamp(self) -> datetime: ...

    @property
    def step_name(self) -> str | None: ...

    @property
    def message(self) -> str | None: ...

    @property
    def duration_ms(self) -> float | None: ...


def copy_lines(
    connection: Connection, organization_id: UUID, lines: Iterable[tuple[Line, bytes | None]]
) -> int:
    """Write lines of one organization, each with its metadata as JSON; return how many.

    The key checks that each line is of a job of the organization. Of many lines it checks one of each job,
    if the role has the privilege to leave out the others, which halves the time.

    Raises `JobNotVisible`, `RowRefused` and whatever `asking` raises; no line can be committed then.
    """
    rows = _rows(organization_id.bytes, lines)
    with asking(connection):
        some, many = _begin(rows)
        if many and _key_is_alone(connection):
            return _copy_checking_jobs_once(connection, chain(some, rows))
        return _copy(connection, (row for _, row in chain(some, rows)))


def _begin(rows: Iterator[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The first rows, and whether there are, or may be, more than a few."""
    some, held = [], 0
    for job, row in rows:
        some.append((job, row))
        held += len(row)
        if len(some) == _FEW or held > _HELD:
            return some, True
    return some, False


def _copy_checking_jobs_once(connection: Connection, rows: Iterable[tuple[bytes, bytes]]) -> int:
    unwritten, written = iter(rows), 0
    jobs: set[bytes] = set()
    try:
        while True:
            first: list[bytes] = []
            _apply_keys(connection, "replica")
            written += _copy(connection, _of_known_jobs(unwritten, jobs, first))
            _apply_keys(connection, "origin")
            if not first:
                return written
            written += _copy(connection, first)
    except BaseException:
        # Whoever goes on regardless must not commit lines that no key has checked.
        connection.close()
        raise


def _of_known_jobs(
    rows: Iterator[tuple[bytes, bytes]], jobs: set[bytes], first: list[bytes]
) -> Iterator[bytes]:
    """Yield rows of jobs that had one before; put those that are the first aside, until they are many."""
    held = 0
    for job, row in rows:
        if job in jobs:
            yield row
            continue
        if len(jobs) == _JOBS:
            jobs.clear()
        jobs.add(job)
        first.append(row)
        held += len(row)
        if held > _HELD:
            return


def _copy(connection: Connection, rows: Iterable[bytes]) -> int:
    written, failed = 0, None
    copying = statement("log_partitions/copy_lines").encode()
    try:
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            block = bytearray(_BEGIN)
            try:
                for row in rows:
                    block += row
                    written += 1
                    if len(block) > _BLOCK:
                        copy.write(bytes(block))
                        block.clear()
                copy.write(bytes(block) + _END)
            except BaseException as failure:
                failed = failure
                raise _CutOff from None
    except _CutOff:
        pass
    if failed:
        raise failed
    return written


class _CutOff(Exception):
    """Said to the server instead of a failure's own words, which may hold values, and which it would log."""


def _key_is_alone(connection: Connection) -> bool:
    connection.execute(statement("log_partitions/lock_keys"))
    asked = statement("log_partitions/key_is_alone")
    ((alone,),) = connection.execute(asked, {"key_name": _KEY}).fetchall()
    return bool(alone)


def _apply_keys(connection: Connection, role: str) -> None:
    connection.execute(statement("log_partitions/apply_keys"), {"role": role})


def _rows(
    organization_id: bytes, lines: Iterable[tuple[Line, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the job of each line, and the line as COPY reads it."""
    # Ids are of version 7, each after the one before, so that their index grows at its end: milliseconds, and
    # 74 random bits, the last 62 of which count; the highest of those begins as 0.
    begun, somewhere = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10))
    high, low = begun << 16 | 7 << 12 | somewhere >> 68, 2 << 62 | somewhere & (1 << 61) - 1
    level_and_step = lru_cache(_NAMES)(_level_and_step)
    for line, metadata in lines:
        try:
            since = line.timestamp - _EPOCH
            timestamp = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            job, duration = line.job_id.bytes, line.duration_ms
            ids_and_sequence = (
                10, 16, high, low, 16, organization_id, 16, job, 4, line.sequence, 8, timestamp
            )  # fmt: skip
            row = b"".join(
                (
                    _UNTIMED(*ids_and_sequence, -1)
                    if duration is None
                    else _TIMED(*ids_and_sequence, 8, duration),
                    level_and_step(line.level, line.step_name),
                    _text(line.message),
                    _NULL if metadata is None else _LENGTH(len(metadata) + 1) + _JSONB + metadata,
                )
            )
        # A number too large for its column, half a surrogate pair, a time without a zone.
        except (struct.error, UnicodeEncodeError, TypeError):
            raise RowRefused("(a value cannot be stored in its column)") from None
        yield job, row
        low += 1


def _level_and_step(level: str, step_name: str | None) -> bytes:
    return _text(level) + _text(step_name)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    written = value.encode()
    return _LENGTH(len(written)) + written
