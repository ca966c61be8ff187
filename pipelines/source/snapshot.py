"""The source as one moment shows it: organizations, jobs that were asked for, and checksums."""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from typing import Any, Final
from uuid import UUID

import polars as pl
from adbc_driver_postgresql import dbapi

from pipelines.calendars.calendar import Instants, LocalRange
from pipelines.errors import SourceMissing
from pipelines.frames import schema_of, uuids
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.snapshot import Snapshot, connected, read
from pipelines.postgres.statements import body, render, statement
from pipelines.settings import Settings
from pipelines.source.contract import LARGE_TABLE_BYTES, find_relations, reasons_to_read_whole, require_fit
from pipelines.source.selections import FARTHEST_BEHIND, IDS_AT_A_TIME, Asked, Swept, listed
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import FLAGS, JOBS

# A row of the source: the fact, and flags for what cannot be taken at face value.
EXTRACTED_COLUMNS: Final = schema_of({**JOBS.fact.columns, **dict.fromkeys(FLAGS, "boolean")})

# For each organization and UTC day of creation: how many jobs count, and two sums of their row hashes.
_CHECKSUM_COLUMNS: Final = schema_of(
    {
        "organization_id": "uuid",
        JOBS.fact.partition_column: "date",
        **dict.fromkeys(("rows", "low", "high"), "bigint"),
    }
)


@dataclass(frozen=True)
class Moment:
    """When a snapshot was taken: `horizon` is the 64-bit transaction id below which all had ended.

    All that had ended by `extracted_at` is in it; on a standby that is how far it has caught up.
    """

    horizon: int
    identity: str
    extracted_at: datetime


@dataclass(frozen=True)
class Names:
    """Organizations, and the workflows and clients that changed: id, name, deleted_at, owner or zone."""

    organizations: pl.DataFrame
    workflows: pl.DataFrame
    clients: pl.DataFrame


@dataclass(frozen=True)
class Census:
    """How many jobs of each organization are neither unfinished nor deleted, and which jobs changed.

    `changed` is None where the jobs that changed are too many, or the table too large, to name them.
    """

    reported: Mapping[UUID, int]
    changed: Asked | None


class SourceSnapshot(Snapshot):
    """What the source holds at one moment.

    `read_whole` says why of some relations every row is read each time: no version tells which changed.
    """

    def __init__(self, connection: dbapi.Connection, settings: Settings) -> None:
        # Before the snapshot, so that all that had ended by then is in it.
        extracted_at = read(connection, statement("source/clock"))["extracted_at"].item()
        super().__init__(connection, settings)
        seen = self.rows("source/snapshot").row(0, named=True)
        self.moment = Moment(seen["horizon"], seen["identity"], extracted_at.astimezone(UTC))
        relations = find_relations(self._named)
        require_fit(relations)
        self.read_whole = reasons_to_read_whole(relations, self._named)

    def checkpoint(self, identity: str | None = None) -> str:
        """How far the source is read when this snapshot was: opaque JSON that only the source reads."""
        moment = self.moment
        return json.dumps({"identity": identity or moment.identity, "horizon": moment.horizon})

    def horizon_after(self, checkpoint: str | None, identity: str | None = None) -> int | None:
        """Where to go on reading after a checkpoint; None, the beginning, when it is another source's."""
        if checkpoint is None:
            return None
        read_, moment = json.loads(checkpoint), self.moment
        horizon: int = read_["horizon"]
        if read_["identity"] != (identity or moment.identity) or horizon > moment.horizon:
            return None
        return horizon if moment.horizon - horizon < FARTHEST_BEHIND else None

    def _named(self, text: str) -> Iterator[dict[str, Any]]:
        return self.rows_of(text).iter_rows(named=True)

    def jobs(self, asked: Asked | Swept) -> Generator[pl.DataFrame, None, None]:
        """Yield the jobs asked for in frames of some ten thousand rows, columns as EXTRACTED_COLUMNS."""
        if isinstance(asked, Swept):
            asked = self._within_reach(asked, "jobs")
        for settings in asked.settings:
            self.set(settings)
            for frame in self.stream(jobs_statement(asked.fragment)):
                yield frame.select(*EXTRACTED_COLUMNS).cast(pl.Schema(EXTRACTED_COLUMNS))

    def census(self, asked: Swept) -> Census:
        """Count the jobs of these organizations, and name those written since the oldest horizon."""
        asked = self._within_reach(asked, "jobs")
        if self.is_large:
            # Without a horizon none is named: all of them at once might take gigabytes of the server.
            asked = replace(asked, horizons=dict.fromkeys(asked.horizons))
        self.set(*asked.settings)
        rows = self.rows("source_jobs/census")
        reported = dict(zip(uuids(rows["organization_id"]), rows["reported"], strict=True))
        ids = b"".join(rows["changed_ids"].drop_nulls())
        if self.is_large or len(ids) > 16 * IDS_AT_A_TIME:
            return Census(reported, None)
        return Census(reported, listed(UUID(bytes=ids[at : at + 16]) for at in range(0, len(ids), 16)))

    def checksums(
        self,
        *,
        organization_ids: Sequence[UUID] = (),
        created_since: date | None = None,
        completed: Instants | None = None,
        earliest: datetime,
        tolerance: timedelta | None,
    ) -> pl.DataFrame:
        """Count and add up the jobs that count, as `with_verdict` decides it: `organization_id`, the
        day, `rows`, `low` and `high`.

        Of these organizations, or of all when none is given, created on a UTC day or later, completed in
        [since, until).
        """
        latest = self.moment.extracted_at + tolerance if tolerance is not None else None
        asked = {"organizations": organization_ids, "created_since": created_since, "completed_in": completed}
        self.set(
            SessionSettings(
                earliest=earliest,
                latest=latest or "infinity",
                reserved_ids=RESERVED_IDS,
                reserved_initiators=RESERVED_INITIATORS,
                organization_ids=organization_ids or None,
                created_since=created_since,
                completed=LocalRange(*completed) if completed else None,
            )
        )
        text = checksums_statement(name for name, by in asked.items() if by)
        return self.rows_of(text).cast(pl.Schema(_CHECKSUM_COLUMNS))

    def size_bytes(self) -> int:
        """How large the table of jobs is, its partitions included; for a view, what it reads."""
        return int(self.rows("source_jobs/size")["bytes"].item())

    @cached_property
    def is_large(self) -> bool:
        """Whether looking through the table of jobs takes longer than searching it by an index."""
        return self.size_bytes() >= LARGE_TABLE_BYTES

    def organizations(self) -> pl.DataFrame:
        """Every organization there is: id, name, time_zone, deleted_at."""
        return self.rows("source/organizations")

    def names(self, asked: Swept) -> Names:
        """Read every organization, and the workflows and clients that changed since the horizons."""
        self.set(*self._within_reach(asked, "workflows", "clients").settings)
        workflows, clients = (
            self.rows_of(render("source/names", {"relation": each})) for each in ("workflows", "clients")
        )
        return Names(self.organizations(), workflows, clients)

    def _within_reach(self, asked: Swept, *relations: str) -> Swept:
        """The same, but from the beginning where no version tells what changed since."""
        if self.read_whole.keys() & set(relations):
            return replace(asked, horizons=dict.fromkeys(asked.horizons))
        return asked


@contextmanager
def open_source(url: str, settings: Settings) -> Iterator[SourceSnapshot]:
    """Open a REPEATABLE READ, READ ONLY transaction; the horizon is read before any row.

    Raises `SourceMissing`, `SourceUnfit`, `DatabaseUnreachable`, `StatementTimedOut`, `StatementCancelled`,
    and `SourceConflict` when a standby had to catch up.
    """
    with (
        connected(url, settings, missing=SourceMissing) as connection,
        closing(SourceSnapshot(connection, settings)) as snapshot,
    ):
        yield snapshot


@cache
def jobs_statement(selected: str) -> str:
    """The statement that reads the jobs that a fragment, the name of a statement, selects."""
    end = render(selected, {"row": "j", "key": "id", "time": "created_at"})
    return render("source_jobs/jobs", {"row_hash": body("source_jobs/row_hash"), "asked": end})


def checksums_statement(narrowed: Iterable[str]) -> str:
    """The statement that adds up the jobs that count, under these further conditions."""
    conditions = "\n".join(body(f"source_jobs/checksum_of_{name}") for name in narrowed)
    return render("source_jobs/checksums", {"row_hash": body("source_jobs/row_hash"), "narrowed": conditions})
