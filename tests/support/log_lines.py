"""Lines of logs to write, and every page of a log."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.executions.execution_logs import LogLine, NewLogLine
from pipelines.subjects.steps import Level
from tests.support.planting import NOON


def line(job_id: UUID, sequence: int = 0, **columns: Any) -> NewLogLine:
    """A line of noon that says little, except for the columns given."""
    said = {"level": Level.INFO, "timestamp": NOON, "message": f"line {sequence}"}
    return NewLogLine(job_id=job_id, sequence=sequence, **(said | columns))


def lines(job_id: UUID, moments: list[datetime], **columns: Any) -> list[NewLogLine]:
    """A line at each moment."""
    return [line(job_id, sequence, timestamp=moment, **columns) for sequence, moment in enumerate(moments)]


def all_pages(find: Callable[..., tuple[LogLine, ...]], rows: int, **asked: Any) -> Iterator[LogLine]:
    """Yield the lines of every page."""
    place = None
    while page := find(after=place, rows=rows, **asked):
        assert len(page) <= rows
        # Or there would be no end.
        assert place is None or page[0].place < place
        yield from page
        place = page[-1].place
