"""Months in UTC, by which execution_logs is partitioned."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_PARTITION: Final = re.compile(r"execution_logs_(\d{4})_(\d\d)")


@dataclass(frozen=True, order=True)
class Month:
    """A month, counted from 1."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """The one that a moment is in."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def of_partition(cls, name: str) -> "Month | None":
        """The one whose lines are in that table, if any are."""
        named = _PARTITION.fullmatch(name)
        return cls(int(named[1]), int(named[2])) if named else None

    @property
    def partition(self) -> str:
        """The table of its lines."""
        return f"execution_logs_{self.year:04}_{self.number:02}"

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.next.start

    @property
    def next(self) -> "Month":
        """The one after it."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def months_from(first: Month, count: int) -> Iterator[Month]:
    """Yield so many months in a row."""
    for _ in range(count):
        yield first
        first = first.next
