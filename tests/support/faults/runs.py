"""Runs that are watched, or cut off, at the points that the code names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.fault_points import FaultPoint, watched_by


class Killed(BaseException):
    """The run was cut off; nothing that catches errors catches this."""


@contextmanager
def recorded() -> Iterator[list[FaultPoint]]:
    """Yield the points that runs pass meanwhile, in their order."""
    passed: list[FaultPoint] = []
    with watched_by(passed.append):
        yield passed


@contextmanager
def struck_at(occurrence: int, strike: Callable[[], object]) -> Iterator[list[FaultPoint]]:
    """Strike when a run passes its point number `occurrence`, counted from 0; yield what it passed."""
    passed: list[FaultPoint] = []

    def watch(point: FaultPoint) -> None:
        passed.append(point)
        if len(passed) == occurrence + 1:
            strike()

    with watched_by(watch):
        yield passed


@contextmanager
def killed_at(occurrence: int) -> Iterator[list[FaultPoint]]:
    """Cut a run off there."""

    def kill() -> None:
        raise Killed

    with struck_at(occurrence, kill) as passed:
        yield passed
