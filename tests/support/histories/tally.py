"""What a torture did, in figures."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """How many histories and runs there were, how many cells were compared, and how many were different.

    Only faults that fired count as crashes, by the place where the run was cut off.
    """

    histories: int = 0
    writes: int = 0
    runs: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    rows_compared: int = 0
    differences: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.histories + other.histories,
            self.writes + other.writes,
            self.runs + other.runs,
            self.crashes + other.crashes,
            self.rows_compared + other.rows_compared,
            self.differences + other.differences,
        )

    def __str__(self) -> str:
        return (
            f"{self.histories:,} histories, {self.writes:,} writes, {self.runs:,} runs,"
            f" {self.crashes.total():,} crashes fired at {len(self.crashes)} places,"
            f" {self.rows_compared:,} rows compared, {self.differences:,} differences"
        )
