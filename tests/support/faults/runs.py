"""Runs that are watched, or cut off, at the points that the code names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.fault_points import FaultPoint, watched_by


class Killed(BaseException):
    """The run was cut off; nothing that catches errors catches this."""


def kill() -> None:
    """End the run as if from outside."""
    raise Killed


@contextmanager
def recorded() -> Iterator[list[FaultPoint]]:
    """Yield the points that runs pass meanwhile, in their order."""
    passed: list[FaultPoint] = []
    with watched_by(passed.append):
        yield passed


@contextmanager
def struck_at(
    occurrence: int | None, strike: Callable[[], object] = kill, *, only: FaultPoint | None = None
) -> Iterator[list[FaultPoint]]:
    """Strike, or kill, when a run passes its point number `occurrence`, counted from 0; yield what it passed.

    Counted are all points, or one `only`; None is never.
    """
    passed: list[FaultPoint] = []

    def watch(point: FaultPoint) -> None:
        if only in (None, point):
            passed.append(point)
            if len(passed) - 1 == occurrence:
                strike()

    with watched_by(watch):
        yield passed
