"""A part of a list, for who cannot take all of it at once."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from pipelines.dashboard.queries import PageQuery
from pipelines.errors import PageGone

Kind = TypeVar("Kind")


def page_of(
    every: Sequence[Kind], ids: Sequence[UUID], query: PageQuery
) -> tuple[tuple[Kind, ...], str | None]:
    """The part that follows `after`, and what the part behind it follows. Raises `PageGone`."""
    if query.after is not None and query.after not in ids:
        raise PageGone
    first = ids.index(query.after) + 1 if query.after is not None else 0
    last = min(first + query.limit, len(every))
    return tuple(every[first:last]), str(ids[last - 1]) if last < len(every) else None
