"""A part of a list, for who cannot take all of it at once."""

from collections.abc import Sequence
from typing import TypeVar

from pipelines.errors import PageGone

Kind = TypeVar("Kind")
Key = TypeVar("Key")


def page_of(
    every: Sequence[Kind], keys: Sequence[Key], limit: int, after: Key | None
) -> tuple[tuple[Kind, ...], Key | None]:
    """The part that follows `after`, and what the part behind it follows. Raises `PageGone`."""
    if after is not None and after not in keys:
        raise PageGone
    first = keys.index(after) + 1 if after is not None else 0
    last = min(first + limit, len(every))
    return tuple(every[first:last]), keys[last - 1] if last < len(every) else None
