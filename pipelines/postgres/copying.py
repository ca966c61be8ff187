"""Frames into tables by COPY in its binary format, which `pgpq` encodes: no row becomes a Python object."""

from collections.abc import Generator
from typing import Final

import polars as pl
import psycopg
from arro3.core import DataType, Table
from pgpq import ArrowToPostgresBinaryEncoder

from pipelines.frames import prefetch

# So many rows are encoded at a time, some fifteen megabytes.
_ROWS: Final = 50_000

# What the encoder does not know, and what it knows instead.
_KNOWN: Final = {
    DataType.string_view(): DataType.large_utf8(),
    DataType.binary_view(): DataType.large_binary(),
}


def copy_frame(connection: psycopg.Connection, statement: str, rows: pl.DataFrame) -> int:
    """Send rows to a COPY statement in the binary format; return how many.

    Its columns have the same order, and the types of the frame: text, bigint, integer and smallint, double
    precision, timestamptz (in UTC), arrays of numbers, and uuid of 16 bytes. Text does for an enum, too.
    """
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        parts = _encoded(rows)
        for part in prefetch(parts) if rows.height > _ROWS else parts:
            copy.write(part)
    return rows.height


def _encoded(rows: pl.DataFrame) -> Generator[bytes, None, None]:
    encoder = ArrowToPostgresBinaryEncoder(_as_known(rows.clear()).schema)
    yield encoder.write_header()
    for part in rows.iter_slices(_ROWS):
        for batch in _as_known(part).to_batches():
            yield encoder.write_batch(batch)
    yield encoder.finish()


def _as_known(rows: pl.DataFrame) -> Table:
    columns = Table(rows)
    known = [_KNOWN.get(column.type) for column in columns.columns]
    return Table.from_arrays(
        [
            column.cast(dtype) if dtype else column
            for column, dtype in zip(columns.columns, known, strict=True)
        ],
        names=columns.column_names,
    )
