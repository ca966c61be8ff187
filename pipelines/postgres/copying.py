"""Frames into tables by COPY, as text that Polars renders: no row becomes a Python object."""

import io
from collections.abc import Generator
from typing import Final

import polars as pl
import psycopg

from pipelines.frames import prefetch

# So many rows are rendered at a time, some fifteen megabytes.
_ROWS: Final = 50_000

# What has a meaning in the text format of COPY.
_ESCAPED: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def copy_frame(connection: psycopg.Connection, statement: str, rows: pl.DataFrame) -> int:
    """Send rows to a COPY statement whose columns have the same order; return how many.

    Takes text, whole numbers, floats of which every bit is kept, moments in UTC, lists of whole numbers,
    and ids as 16 bytes.
    """
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        parts = _rendered(rows)
        for part in prefetch(parts) if rows.height > _ROWS else parts:
            copy.write(part)
    return rows.height


def _rendered(rows: pl.DataFrame) -> Generator[bytes, None, None]:
    for part in rows.iter_slices(_ROWS):
        text = io.BytesIO()
        part.select(_as_text(name, dtype) for name, dtype in part.schema.items()).write_csv(
            text, include_header=False, separator="\t", null_value="\\N", quote_style="never"
        )
        yield text.getvalue()


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if dtype == pl.String:
        return column.str.replace_many(_ESCAPED)
    if isinstance(dtype, pl.List):
        numbers = column.cast(pl.List(pl.String)).list.join(",")
        return pl.concat_str(pl.lit("{"), numbers, pl.lit("}")).alias(name)
    return column
