"""Ids between frames, where they are 16 bytes, and PostgreSQL, where they are UUIDs."""

from collections.abc import Iterable
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
