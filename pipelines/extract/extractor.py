"""From the source to the facts: read what changed, judge it, merge it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

import polars as pl

from pipelines.calendars.local_ranges import LocalRange, between
from pipelines.calendars.moments import DayOrTime
from pipelines.errors import PublishConflict, UnknownOrganization
from pipelines.extract.delete_guard import counts, suspicious
from pipelines.extract.validation import FOUND_COLUMNS, anomalies, changes, with_verdict
from pipelines.facts.checksums import differing_days, digest
from pipelines.facts.fact_table import STORED_COLUMNS, Absorbed, Facts, open_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Databases, connect
from pipelines.prefetch import read_ahead
from pipelines.progress import Stages
from pipelines.settings import Settings, Tier
from pipelines.source.selections import Asked, CreatedOn, Indexed, Listed, OfOwners, Swept
from pipelines.source.snapshot import Moment, SourceSnapshot, open_source
from pipelines.state.anomalies import find_listed
from pipelines.state.dimension_tables import NamesToCopy, find_moved
from pipelines.state.time_zones import ReadCalendar, read_calendar
from pipelines.state.watermarks import Progress, Shown, disown_lost_versions, find_progress
from pipelines.subjects.anomalies import HEAL_BY_THEMSELVES, NOT_COUNTED
from pipelines.subjects.jobs import Gone
from pipelines.subjects.restatements import Restated

# As the facts lie in their files.
_FACTS_ORDER = ("created_date", "organization_id", "completed_at")

# A table that is larger than this takes longer to look through than to search by its index.
_LARGE_TABLE_BYTES: Final = 2 * 1024**3

_TOO_OLD: Final = 2**30


@dataclass(frozen=True)
class CompletedIn:
    """Jobs that completed in [since, until), which are instants or go by the clocks of each organization."""

    since: DayOrTime
    until: DayOrTime

    def by(self, calendar: ReadCalendar, organization_ids: Collection[UUID]) -> LocalRange:
        """The same as instants for each of these organizations; raises `InvalidRange`."""
        return calendar.range_of(self.since, self.until, organization_ids)


@dataclass(frozen=True)
class Request:
    """What a pass reads beside what changed: nothing, or what a digest finds to differ from the facts.

    The digest covers jobs `completed` in a range, `created_since` a day, or `everything`. No
    `organization_ids` means all of them.
    """

    organization_ids: tuple[UUID, ...] = ()
    completed: CompletedIn | None = None
    created_since: date | None = None
    everything: bool = False
    accept_deletes: bool = False

    @property
    def digests(self) -> bool:
        """Whether the source is compared with the facts."""
        return bool(self.completed or self.created_since or self.everything)

    @property
    def settled_since(self) -> str | None:
        """The first day of creation of which no delete is withheld any more when this is published."""
        if self.everything or (self.digests and self.accept_deletes):
            return "-infinity"
        return self.created_since.isoformat() if self.created_since else None


@dataclass(frozen=True)
class Extraction:
    """What one snapshot of the source held; its jobs are in the facts, the rest waits to be published.

    `found` are anomalies seen and `healed` listed ones seen no more; `seen` is how far everybody was, and
    every row of the `swept` organizations was looked at. The `recounted` had other jobs in the source than
    were accounted for, so a digest was compared. `withheld` says of how many jobs an organization would be
    rid that are gone from the source; `request` is what was asked for. Until it is published the cursors
    stay, so a later refresh reads what changed again; what only a digest found is found by another.
    """

    run_id: UUID
    moment: Moment
    reason: Restated | None
    names: NamesToCopy
    calendar: ReadCalendar
    found: pl.DataFrame
    healed: pl.DataFrame
    organization_ids: tuple[UUID, ...]
    seen: Mapping[UUID, Progress]
    swept: frozenset[UUID]
    recounted: frozenset[UUID]
    withheld: Mapping[UUID, int]
    request: Request
    jobs_read: int
    absorbed: Absorbed
    facts: Facts
    complete_through: Mapping[UUID, datetime]
    seconds: Mapping[str, float]

    def with_newest_facts(self, settings: Settings) -> "Extraction":
        """The same with the facts as they are now; raises `PublishConflict` when they are others."""
        newest = open_facts(settings)
        if newest.table_id != self.facts.table_id or newest.version < self.facts.version:
            raise PublishConflict
        return replace(self, facts=newest)

    @property
    def unknown_zones(self) -> frozenset[UUID]:
        """The organizations whose time zone the source's PostgreSQL does not know."""
        return frozenset(self.calendar.unknown) & frozenset(self.organization_ids)


def extract(databases: Databases, settings: Settings, request: Request, stages: Stages) -> Extraction:
    """Merge into the facts what changed since the cursors, and what a digest finds to differ.

    The caller holds the refresh lock. Raises `UnknownOrganization`, `SourceMissing`, `FactsUnusable`,
    `FactsConflict`.
    """
    with gathered(databases, settings, request, stages) as (extraction, facts, spool):
        with stages.timed("facts"):
            absorbed = _absorb(facts, spool, stages)
        passing(FaultPoint.FACTS_ABSORBED)
        return replace(extraction, absorbed=absorbed, seconds=stages.seconds)


@contextmanager
def gathered(
    databases: Databases, settings: Settings, request: Request, stages: Stages, *, dry: bool = False
) -> Iterator[tuple[Extraction, Facts, Spool]]:
    """Read what `extract` would merge, and merge nothing: yield it with the facts and the spooled rows.

    A `dry` one does not write down either whose published version these facts do not have.
    """
    facts = open_facts(settings)
    if not dry:
        facts.add_columns()
    passing(FaultPoint.FACTS_OPENED)
    with connect(databases.analytics_url, settings) as analytics:
        seen = find_progress(analytics) if dry else disown_lost_versions(analytics, facts)
        passing(FaultPoint.LOST_VERSIONS_DISOWNED)
        listed = find_listed(analytics)
    passing(FaultPoint.PROGRESS_READ)
    with temporary_spool(settings.home) as spool:
        with stages.timed("extract"), open_source(databases.source_url, settings) as source:
            passing(FaultPoint.SNAPSHOT_OPENED)
            reading = _Reading(source, settings, request, facts, spool, seen, listed, stages)
            calendar = reading.calendar()
            names = find_moved(databases, settings, source.names(reading.named))
            passing(FaultPoint.NAMES_READ)
            reading.read_changes(names)
            passing(FaultPoint.JOBS_READ)
            withheld = reading.read_what_is_gone()
            moment = source.moment
        passing(FaultPoint.SNAPSHOT_CLOSED)
        stages.seconds["snapshot"] = source.seconds
        stages.seconds["longest_statement"] = source.longest_statement_s
        yield (
            Extraction(
                run_id=uuid4(),
                moment=moment,
                reason=Restated.BACKFILL if request.digests else None,
                names=names,
                calendar=calendar,
                found=reading.found(),
                healed=reading.healed(),
                organization_ids=reading.organization_ids(),
                seen=seen,
                swept=frozenset(reading.swept.horizons) | reading.strangers,
                recounted=reading.recounted,
                withheld=withheld,
                request=request,
                jobs_read=spool.rows,
                absorbed=Absorbed(),
                facts=facts,
                complete_through=reading.complete_through(),
                seconds=stages.seconds,
            ),
            facts,
            spool,
        )


class _Reading:
    """What one pass asks of the source; rows are judged as they stream in, and spooled for the facts."""

    def __init__(
        self,
        source: SourceSnapshot,
        settings: Settings,
        request: Request,
        facts: Facts,
        spool: Spool,
        seen: Mapping[UUID, Progress],
        listed: pl.DataFrame,
        stages: Stages,
    ) -> None:
        self._source, self._settings, self._request = source, settings, request
        self._facts, self._spool, self._seen, self._stages = facts, spool, seen, stages
        self._listed = listed
        self._completed: LocalRange | None = None
        self._found: list[pl.DataFrame] = []
        self._looked_at: list[pl.DataFrame] = []
        self._met: set[UUID] = set()
        self._strangers_read: frozenset[UUID] = frozenset()
        self._reported: dict[UUID, int] | None = None
        self.recounted: frozenset[UUID] = frozenset()
        self._organizations = source.organizations()
        known = set(uuids(self._organizations["id"])) | set(seen)
        self._scope = _scope(request.organization_ids, known)
        only_these = bool(request.organization_ids)
        moment = source.moment
        horizons = {
            key: horizon_of(seen.get(key), moment.incarnation, moment.horizon, facts) for key in self._scope
        }
        # What changed hands is found as long as one of both has not got so far: its names are everybody's.
        latest = min((horizon for horizon in horizons.values() if horizon is not None), default=None)
        self.named = Swept(dict.fromkeys(known, latest) | dict.fromkeys(self._whole_of(horizons)))
        self._whole = self._whole_of(horizons)
        by_index = self._by_index(horizons)
        self.swept = Swept(
            {key: horizon for key, horizon in horizons.items() if key not in by_index},
            only_listed=only_these or bool(by_index),
        )
        lookback = settings.lookback
        self._indexed = Indexed(
            {key: seen[key].extracted_at - lookback for key in by_index}, only_listed=only_these
        )

    @property
    def strangers(self) -> frozenset[UUID]:
        """Organizations that jobs name although the source has no such organization, read like the others."""
        return frozenset() if self._request.organization_ids else frozenset(self._met - self._scope)

    def organization_ids(self) -> tuple[UUID, ...]:
        """Whom the pass is for."""
        return tuple(sorted(self._scope | self.strangers))

    def complete_through(self) -> dict[UUID, datetime]:
        """Up to when jobs that had completed, and were written down, have been read."""
        now = self._source.moment.extracted_at
        through = dict.fromkeys(self.organization_ids(), now)
        for key in self._indexed.since:
            through[key] = max(now - self._settings.lookback, self._seen[key].complete_through)
        return through

    def calendar(self) -> ReadCalendar:
        """Where the days of these organizations begin."""
        there = self._organizations
        zones = dict(zip(uuids(there["id"]), there["time_zone"], strict=True))
        # One that is no longer in the source keeps the zone in which its days were counted.
        seen = {key: progress.time_zone for key, progress in self._seen.items()}
        mine = {key: zone for key, zone in (seen | zones).items() if key in self._scope}
        calendar = read_calendar(self._source, mine, self._settings)
        if self._request.completed:
            self._completed = self._request.completed.by(calendar, self._scope)
        passing(FaultPoint.CALENDAR_READ)
        return calendar

    def read_changes(self, names: NamesToCopy) -> None:
        """Read what changed since the cursors, what may have healed, and whose owner changed."""
        if self._has_swept_something_new():
            self._read(self.swept)
        if self._indexed.since:
            self._read(self._indexed)
        self._read_listed(self._to_read_again())
        moved = OfOwners(*(names.moved(kind, self._scope) for kind in ("workflows", "clients")))
        if moved.workflow_ids or moved.client_ids:
            self._read(moved)
        self._read_strangers()

    def read_what_is_gone(self) -> dict[UUID, int]:
        """Find jobs that the source does not have any more; return those of whom too many are missing."""
        expected = [self._facts.scan().filter(of_organizations(self._whole))] if self._whole else []
        organization_ids: Collection[UUID] = self._request.organization_ids
        if not self._request.digests:
            self.recounted = organization_ids = self._miscounted()
            self._read_listed(self._listed.filter(of_organizations(self.recounted)))
        if self._request.digests or self.recounted:
            days = self._differing_days(organization_ids)
            passing(FaultPoint.DIGEST_READ)
            if days.height:
                self._read(CreatedOn(days))
                self._read_strangers()
                expected.append(self._facts.of_days(days).filter(self._asked_for))
        if not expected:
            return {}
        jobs = pl.concat(expected).unique("job_id")
        if self._settings.sealed_before_at:
            # They may be gone for good, and by the million.
            jobs = jobs.filter(pl.col("completed_at") >= self._settings.sealed_before_at)
        missing = self._unread(jobs)
        if missing.height:
            self._read(Listed(uuids(missing["job_id"])))
        gone = self._unread(missing.lazy())
        passing(FaultPoint.GONE_JOBS_FOUND)
        withheld = self._suspicious(gone)
        gone = gone.filter(~of_organizations(withheld))
        self._spool.add(gone.with_columns(gone=pl.lit(Gone.DELETED.value)).select(self._columns))
        return withheld

    def _read_strangers(self) -> None:
        """Read all jobs of strangers of whom only some were met: the newest, or those of some days."""
        new = self.strangers - self._strangers_read
        if new and self.swept.only_listed:
            self._read(Swept(dict.fromkeys(new), only_listed=True))
        self._strangers_read |= new

    @staticmethod
    def _whole_of(horizons: Mapping[UUID, int | None]) -> set[UUID]:
        return {key for key, horizon in horizons.items() if horizon is None}

    @property
    def _asked_for(self) -> pl.Expr:
        """Of jobs that completed outside the range nobody asked whether they are gone."""
        return self._completed.holds() if self._completed else pl.lit(True)

    @property
    def _columns(self) -> list[str]:
        return list(STORED_COLUMNS)

    def _by_index(self, horizons: Mapping[UUID, int | None]) -> set[UUID]:
        """Who need not be swept this time."""
        tier, now = self._settings.extraction, self._source.moment.extracted_at
        if tier is Tier.AUTO:
            large = self._source.size_bytes() >= _LARGE_TABLE_BYTES
            tier = Tier.INDEXED if large else Tier.SWEEP
        if tier is Tier.SWEEP:
            return set()
        return {
            key
            for key, horizon in horizons.items()
            if horizon is not None and now - self._seen[key].swept_at < self._settings.sweep_every
        }

    def _read_listed(self, listed: pl.DataFrame) -> None:
        """Read these anomalies again: what is not found any more has healed, or its job is gone."""
        if listed.height:
            job_ids = listed["job_id"].unique()
            self._read(Listed(uuids(job_ids)))
            looked_at = self._listed.filter(pl.col("job_id").is_in(job_ids.implode()))
            self._looked_at.append(looked_at.with_columns(owner="organization_id"))

    def _to_read_again(self) -> pl.DataFrame:
        listed = self._listed.filter(of_organizations(self._scope))
        if self._request.digests:
            return listed
        return listed.filter(pl.col("reason").is_in([reason.value for reason in HEAL_BY_THEMSELVES]))

    def _has_swept_something_new(self) -> bool:
        """Whether the sweep has anything to read; count what everybody has meanwhile.

        A digest counts for itself, and the facts of sealed history are more than the source has.
        """
        if not self.swept.horizons and self.swept.only_listed:
            return False
        known = [key for key, horizon in self.swept.horizons.items() if horizon is not None]
        if not known or self._request.digests or self._settings.sealed_before_at:
            return True
        census = self._source.census(self.swept)
        passing(FaultPoint.CENSUS_READ)
        self._reported = dict(zip(uuids(census["organization_id"]), census["reported"], strict=True))
        everybody_is_known = self._reported.keys() <= set(known) == self.swept.horizons.keys()
        return not everybody_is_known or "jobs" in self._source.read_whole or census["changed"].sum() > 0

    def _miscounted(self) -> frozenset[UUID]:
        """Whose jobs in the source are not as many as the facts and the list of anomalies account for.

        Each job that is neither unfinished nor deleted counts or is listed. Whose deletes are withheld
        already is left to the next digest.
        """
        mine = [
            key
            for key, horizon in self.swept.horizons.items()
            if horizon is not None and not self._seen[key].deletes_withheld
        ]
        if self._reported is None or not mine:
            return frozenset()
        accounted = self._jobs_accounted_for()
        return frozenset(key for key in mine if accounted[key] != self._reported.get(key, 0))

    def _jobs_accounted_for(self) -> Counter[UUID]:
        """How many jobs of each organization count, or are listed, when what was read is merged."""
        jobs = Counter(self._facts.jobs_by_organization())
        listed = self._listed
        if self._spool.rows:
            read = self._spool.scan().unique("job_id")
            jobs.update(counts(read.filter(pl.col("gone").is_null())))
            # A job that has another day of creation by now is taken for two: a digest tells.
            days = read.select(pl.col("created_date").unique()).collect()["created_date"].implode()
            before = self._facts.scan().filter(pl.col("created_date").is_in(days))
            jobs.subtract(counts(before.join(read, on="job_id", how="semi")))
            ids = read.select("job_id").collect()
            listed = pl.concat(
                [
                    self._listed.join(ids, on="job_id", how="anti"),
                    self.found().select(self._listed.columns),
                ]
            )
        not_counted = listed.filter(pl.col("reason").is_in([reason.value for reason in NOT_COUNTED]))
        jobs.update(counts(not_counted.unique(["organization_id", "job_id"]).lazy()))
        return jobs

    def _differing_days(self, organization_ids: Collection[UUID]) -> pl.DataFrame:
        request = self._request
        # Wider than what some are asked about: a few days more are read again, which changes nothing.
        completed = (self._completed.since, self._completed.until) if self._completed else None
        there = self._source.digest(
            organization_ids=list(organization_ids),
            created_since=request.created_since,
            completed=completed,
            earliest=self._settings.earliest_completion_at,
            tolerance=self._settings.future_tolerance,
        )
        here = self._facts.scan().join(self._spooled_ids(), on="job_id", how="anti")
        now = self._spool.scan().filter(pl.col("gone").is_null()) if self._spool.rows else None
        jobs = pl.concat([here, now.select(here.collect_schema().names())]) if now is not None else here
        if organization_ids:
            jobs = jobs.filter(of_organizations(organization_ids))
        if completed:
            jobs = jobs.filter(between(*completed))
        if request.created_since:
            jobs = jobs.filter(pl.col("created_date") >= request.created_since)
        return differing_days(there, digest(jobs))

    def _spooled_ids(self) -> pl.LazyFrame:
        if self._spool.rows:
            return self._spool.scan().select("job_id")
        return self._facts.scan().clear().select("job_id")

    def _read(self, asked: Asked) -> None:
        for jobs in read_ahead(self._source.jobs(asked), cancel=self._source.cancel):
            passing(FaultPoint.JOBS_STREAMING)
            judged = with_verdict(
                jobs,
                clock=self._source.moment.extracted_at,
                earliest=self._settings.earliest_completion_at,
                tolerance=self._settings.future_tolerance,
            )
            found = anomalies(judged).rows()
            if found:
                # Made anew, because a few rows of a frame keep all of its ids in memory.
                self._found.append(pl.DataFrame(found, schema=FOUND_COLUMNS, orient="row"))
            if self._listed.height:
                owners = judged.select("job_id", owner="organization_id")
                self._looked_at.append(self._listed.join(owners, on="job_id"))
            self._met.update(uuids(judged["organization_id"].unique()))
            self._spool.add(changes(judged))
            self._stages.tell("extract", self._spool.rows)

    def _unread(self, facts: pl.LazyFrame) -> pl.DataFrame:
        return facts.join(self._spooled_ids(), on="job_id", how="anti").collect()

    def _suspicious(self, gone: pl.DataFrame) -> dict[UUID, int]:
        if self._request.accept_deletes or gone.is_empty():
            return {}
        return suspicious(counts(gone.lazy()), self._facts.jobs_by_organization())

    def found(self) -> pl.DataFrame:
        """What is wrong with the jobs that were read, one row per job and reason."""
        if not self._found:
            return pl.DataFrame(schema=FOUND_COLUMNS)
        return pl.concat(self._found).unique(["job_id", "reason"], keep="last")

    def healed(self) -> pl.DataFrame:
        """What was listed, was looked at, and was not found again.

        It leaves the list with the organization that has the job now, whose cursor moves past the repair.
        """
        if not self._looked_at:
            return self._listed.clear()
        looked_at = pl.concat(self._looked_at).unique(["job_id", "reason"], keep="first", maintain_order=True)
        owner = (
            pl.when(of_organizations(self.organization_ids(), "owner"))
            .then("owner")
            .otherwise("organization_id")
        )
        return looked_at.with_columns(organization_id=owner).join(
            self.found(), on=["job_id", "reason"], how="anti"
        )


def horizon_of(progress: Shown | None, incarnation: str, horizon: int, facts: Facts) -> int | None:
    """Where to go on reading an organization; None, from the beginning, when the past is another source's.

    The source is of this incarnation now, and below `horizon` all its transactions have ended.
    """
    if progress is None or not progress.knows(facts):
        return None
    if progress.incarnation != incarnation or progress.horizon > horizon:
        return None
    # So old a horizon cannot be told from a future one on the circle of 32-bit ids.
    return progress.horizon if horizon - progress.horizon < _TOO_OLD else None


def _scope(asked: Sequence[UUID], known: set[UUID]) -> set[UUID]:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    return set(asked) or known


def _absorb(facts: Facts, spool: Spool, stages: Stages) -> Absorbed:
    # Chunks share no job, so while the first ones fill an empty table there is nothing to look up.
    absorb = facts.fill if facts.empty else facts.absorb
    absorbed = Absorbed()
    for chunk in spool.chunks(_FACTS_ORDER):
        absorbed += absorb(chunk)
        stages.tell("facts", absorbed.inserted + absorbed.updated + absorbed.gone)
    return absorbed
