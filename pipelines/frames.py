"""Frames: the types of their columns, ids in them, and making the next one while one is worked on."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar
from uuid import UUID

import polars as pl

T = TypeVar("T")

# The handler that Polars puts before Python's own lets Ctrl-C wake no thread that waits for another.
_LISTENING_S: Final = 0.2


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


def prefetch(items: Generator[T, None, None], *, cancel: Callable[[], None] = lambda: None) -> Iterator[T]:
    """Yield the same items in the same order, the next one being made in a thread of its own meanwhile.

    An error of the maker is raised where its item would have come. `cancel` ends what the maker waits
    for when nobody wants another item.
    """
    with ThreadPoolExecutor(max_workers=1) as maker:
        try:
            coming = maker.submit(_next, items)
            while made := _awaited(coming):
                coming = maker.submit(_next, items)
                yield made[0]
        except (GeneratorExit, KeyboardInterrupt):
            cancel()
            raise
        finally:
            maker.submit(items.close).result()


def _next(items: Iterator[T]) -> list[T]:
    return list(islice(items, 1))


def _awaited(coming: Future[list[T]]) -> list[T]:
    while not wait([coming], timeout=_LISTENING_S).done:
        pass
    return coming.result()
