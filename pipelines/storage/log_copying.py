"""Lines of logs into their table by binary COPY, which costs the server half of what text does."""

import os
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pipelines.errors import RowRefused
from pipelines.storage.database import Connection
from pipelines.storage.executions import asking
from pipelines.storage.statements import statement

# PostgreSQL counts microseconds from here.
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"

# Ten columns; each value is preceded by its length.
_IDS_AND_SEQUENCE: Final = struct.Struct(">hi16si16si16sii").pack
_LENGTH: Final = struct.Struct(">i").pack
_TIMESTAMP: Final = struct.Struct(">iq").pack
_DOUBLE: Final = struct.Struct(">id").pack

# jsonb says first which version of its format the text is in.
_JSONB: Final = b"\x01"

# So many bytes are sent at a time.
_BLOCK: Final = 1 << 18


class Line(NamedTuple):
    """What is stored of a line; `metadata` is JSON."""

    job_id: UUID
    sequence: int
    level: str
    timestamp: datetime
    step_name: str | None
    message: str | None
    duration_ms: float | None
    metadata: str | None


def copy_lines(connection: Connection, organization_id: UUID, lines: Iterable[Line]) -> int:
    """Write lines of one organization; return how many.

    Raises `JobNotVisible`, `RowRefused` and whatever `asking` raises; the transaction has failed then.
    """
    written = 0
    copying = statement("orchestration/copy_log_lines.sql").encode()
    with asking(connection), connection.cursor() as cursor, cursor.copy(copying) as copy:
        block = bytearray(_BEGIN)
        for row in _rows(organization_id.bytes, lines):
            block += row
            written += 1
            if len(block) > _BLOCK:
                copy.write(bytes(block))
                block.clear()
        copy.write(bytes(block) + _END)
    return written


def _rows(organization_id: bytes, lines: Iterable[Line]) -> Iterator[bytes]:
    """Yield each line as COPY reads it."""
    ids = _time_ordered_ids()
    for line in lines:
        try:
            yield b"".join(
                (
                    _IDS_AND_SEQUENCE(
                        10, 16, next(ids), 16, organization_id, 16, line.job_id.bytes, 4, line.sequence
                    ),
                    _text(line.level),
                    _TIMESTAMP(8, (line.timestamp - _EPOCH) // _MICROSECOND),
                    _text(line.step_name),
                    _text(line.message),
                    _NULL if line.duration_ms is None else _DOUBLE(8, line.duration_ms),
                    _text(line.metadata, _JSONB),
                )
            )
        # A number too large for its column, half a surrogate pair, a time without a zone.
        except (struct.error, UnicodeEncodeError, TypeError):
            raise RowRefused("(a value cannot be stored in its column)") from None


def _text(value: str | None, before: bytes = b"") -> bytes:
    if value is None:
        return _NULL
    written = before + value.encode()
    return _LENGTH(len(written)) + written


def _time_ordered_ids() -> Iterator[bytes]:
    """Yield ids of version 7, each after the one before: an index of them grows at its end.

    Milliseconds, and 74 bits that begin somewhere in the lowest part and count from there.
    """
    milliseconds, counter = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(9)) >> 3
    while True:
        high, low = counter >> 62, counter & ((1 << 62) - 1)
        yield ((milliseconds << 80) | (7 << 76) | (high << 64) | (2 << 62) | low).to_bytes(16)
        counter += 1
