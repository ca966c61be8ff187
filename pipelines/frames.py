"""Ids between frames, where they are 16 bytes, and PostgreSQL, where they are UUIDs."""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import polars as pl


def uuids(ids: pl.Series) -> list[UUID]:
    """The UUIDs of a binary column."""
    return [UUID(bytes=value) for value in ids]


def id_series(name: str, ids: Iterable[UUID]) -> pl.Series:
    """A binary column of UUIDs."""
    return pl.Series(name, [value.bytes for value in ids], dtype=pl.Binary)


def of_organizations(ids: Iterable[UUID], column: str = "organization_id") -> pl.Expr:
    """Whether a row is of one of these."""
    return pl.col(column).is_in(id_series(column, ids).implode())


# What the types of declared columns are in a frame; ids are the 16 bytes of their UUID, which hash and
# compress better than text.
DTYPES: Final[Mapping[str, pl.DataType]] = {
    "uuid": pl.Binary(),
    "text": pl.String(),
    "timestamptz": pl.Datetime("us", "UTC"),
    "bigint": pl.Int64(),
    "date": pl.Date(),
    "boolean": pl.Boolean(),
    "smallint[]": pl.List(pl.Int16()),
    "integer[]": pl.List(pl.Int32()),
}


def schema_of(columns: Mapping[str, str]) -> dict[str, pl.DataType]:
    """The schema of a frame with these declared columns."""
    return {name: DTYPES[type_] for name, type_ in columns.items()}


def sentinel(value: UUID | str) -> bytes | str:
    """A member of a dimension as frames hold it."""
    return value.bytes if isinstance(value, UUID) else value
