"""Doing two things at once: one side makes the next frame while the other works on this one."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

# The handler that Polars puts before Python's own lets Ctrl-C wake no thread that waits for another.
_LISTENING_S: Final = 0.2


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
