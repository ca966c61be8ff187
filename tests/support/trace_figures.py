"""What a tenant's jobs amount to, computed from the rows of a trace alone, without any code of ours."""

import csv
import gzip
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Job:
    """A job that counts."""

    workflow: str
    client: str
    initiator: str
    completed: bool
    completed_at: datetime
    duration_ms: float


@dataclass(frozen=True)
class Figures:
    """Counts, and exact percentiles of the jobs whose duration is not negative."""

    jobs: Sequence[Job]

    @property
    def total(self) -> int:
        """All jobs."""
        return len(self.jobs)

    @property
    def failed(self) -> int:
        """Those that failed."""
        return sum(not job.completed for job in self.jobs)

    @property
    def success_rate_pct(self) -> float:
        """The others, in percent."""
        return 100 * (self.total - self.failed) / self.total

    @property
    def timed(self) -> list[float]:
        """Durations in order, those that are none left out."""
        return sorted(job.duration_ms for job in self.jobs if job.duration_ms >= 0)

    def percentile_ms(self, share: float) -> float:
        """Linear interpolation at rank (n - 1) * share, as `percentile_cont` has it."""
        rank = (len(self.timed) - 1) * share
        below, above = self.timed[math.floor(rank)], self.timed[math.ceil(rank)]
        return below + (above - below) * (rank - math.floor(rank))


@dataclass(frozen=True)
class Source:
    """The jobs of one tenant, by the clocks of its zone."""

    jobs: tuple[Job, ...]
    zone: ZoneInfo

    def of(self, first: date, last: date, which: Callable[[Job], bool] = lambda _job: True) -> Figures:
        """The jobs that completed on these local days, both included."""
        return Figures([job for job in self.jobs if first <= self.day_of(job) <= last and which(job)])

    def day_of(self, job: Job) -> date:
        """The local day a job completed on."""
        return job.completed_at.astimezone(self.zone).date()


def read_source(folder: Path, organization: str, zone: str) -> Source:
    """Read the jobs that count: ended, not deleted, with both times."""
    found = (
        Job(
            workflow=row["workflow_id"],
            client=row["client_id"],
            initiator=row["initiator_type"],
            completed=row["status"] == "COMPLETED",
            completed_at=datetime.fromisoformat(row["completed_at"]),
            duration_ms=_seconds(row["started_at"], row["completed_at"]) * 1000,
        )
        for row in rows(folder, "jobs")
        if row["organization_id"] == organization
        and row["status"] in ("COMPLETED", "FAILED")
        and row["started_at"]
        and row["completed_at"]
        and not row["deleted_at"]
    )
    return Source(tuple(found), ZoneInfo(zone))


def rows(folder: Path, table: str) -> Iterator[dict[str, str]]:
    """The rows of one file of a trace."""
    with gzip.open(folder / f"{table}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
