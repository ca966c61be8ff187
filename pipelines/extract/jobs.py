"""What one pass asks of the source's jobs, judged as they stream in."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Instants, LocalRange, between
from pipelines.errors import UnknownOrganization
from pipelines.extract.delete_guard import counts
from pipelines.extract.reading import Reading
from pipelines.extract.request import Request
from pipelines.extract.validation import FOUND_COLUMNS, NOTHING_FOUND, anomalies, changes, with_verdict
from pipelines.facts.fact_table import Facts
from pipelines.facts.spool import Spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, prefetch, uuids
from pipelines.postgres.connections import Run
from pipelines.settings import Tier
from pipelines.source.selections import Asked, Swept, created_on, indexed, listed, of_owners
from pipelines.source.snapshot import SourceSnapshot
from pipelines.state.anomalies import find_listed
from pipelines.state.dimension_tables import NamesToCopy
from pipelines.state.time_zones import ReadCalendar, read_calendar
from pipelines.state.watermarks import Watermarks
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import HEAL_BY_THEMSELVES, NOT_COUNTED
from pipelines.subjects.subject import TOMBSTONE


class JobReading(Reading):
    """Reads jobs, which are judged one by one as they stream in, and what goes with them.

    `swept` says from where on each organization is read, `recounted` which organizations had other jobs in
    the source than were accounted for.
    """

    def __init__(
        self,
        run: Run,
        request: Request,
        source: SourceSnapshot,
        facts: Facts,
        spool: Spool,
        seen: Watermarks,
    ) -> None:
        super().__init__(run, request, source, facts, spool, JOBS)
        self._seen = seen
        with run.analytics() as analytics:
            self._listed = find_listed(analytics)
        passing(FaultPoint.PROGRESS_READ)
        self._completed: LocalRange | None = None
        self._found: list[pl.DataFrame] = []
        self._looked_at: list[pl.DataFrame] = []
        self._met: set[UUID] = set()
        self._orphans_read: frozenset[UUID] = frozenset()
        self._reported: Mapping[UUID, int] | None = None
        self.recounted: frozenset[UUID] = frozenset()
        self._organizations = source.organizations()
        known = set(uuids(self._organizations["id"])) | set(seen)
        self._scope = _scope(request.organization_ids, known)
        only_these = bool(request.organization_ids)
        horizons = {
            key: source.horizon_after(was.checkpoint) if was and was.knows(facts) else None
            for key, was in ((key, seen.get(key)) for key in self._scope)
        }
        # A workflow that changed hands is found while one of both organizations has not read so far yet.
        latest = min((horizon for horizon in horizons.values() if horizon is not None), default=None)
        self._whole = {key for key, horizon in horizons.items() if horizon is None}
        self.named = Swept(dict.fromkeys(known, latest) | dict.fromkeys(self._whole))
        by_index = self._found_by_index(horizons)
        self.swept = Swept(
            {key: horizon for key, horizon in horizons.items() if key not in by_index},
            only_listed=only_these or bool(by_index),
        )
        self._by_index = {key: seen[key].extracted_at - self._settings.lookback for key in by_index}

    @property
    def orphans(self) -> frozenset[UUID]:
        """Organizations that jobs name although the source has no such organization, read like the others."""
        return frozenset() if self._request.organization_ids else frozenset(self._met - self._scope)

    def organization_ids(self) -> tuple[UUID, ...]:
        """The organizations that the pass covers, in order."""
        return tuple(sorted(self._scope | self.orphans))

    def complete_through(self) -> dict[UUID, datetime]:
        """Up to when jobs that had completed, and were written down, have been read."""
        now = self._source.moment.extracted_at
        through = dict.fromkeys(self.organization_ids(), now)
        for key in self._by_index:
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
        if asked := self._swept_anew():
            self._read(asked)
        if self._by_index:
            self._read(indexed(self._by_index, only_listed=bool(self._request.organization_ids)))
        self._read_listed(self._to_read_again())
        self._read(of_owners(*(names.moved(kind, self._scope) for kind in ("workflows", "clients"))))
        self._read_orphans()
        # The organization that has the job now was seen when the job was read, and comes first.
        self._look_at(self._listed.filter(of_organizations(self._whole)))

    def read_what_is_gone(self) -> dict[UUID, int]:
        """Find jobs the source does not have any more; return guarded organizations and how many jobs."""
        compared: Collection[UUID] | None = self._request.organization_ids if self._request.compares else None
        if compared is None:
            self.recounted = self._miscounted()
            self._read_listed(self._listed.filter(of_organizations(self.recounted)))
            compared = self.recounted or None
        return self._read_what_is_gone(self._whole, compared)

    def _read_orphans(self) -> None:
        """Read all jobs of orphan organizations of which only some were met: the newest, or some days."""
        new = self.orphans - self._orphans_read
        if new and self.swept.only_listed:
            self._read(Swept(dict.fromkeys(new), only_listed=True))
        self._orphans_read |= new

    def _found_by_index(self, horizons: Mapping[UUID, int | None]) -> set[UUID]:
        """The organizations that are read by index this time, and not swept."""
        tier, now = self._settings.extraction, self._source.moment.extracted_at
        if tier is Tier.AUTO:
            tier = Tier.INDEXED if self._source.is_large else Tier.SWEEP
        if tier is Tier.SWEEP:
            return set()
        return {
            key
            for key, horizon in horizons.items()
            if horizon is not None and now - self._seen[key].swept_at < self._settings.sweep_every
        }

    def _read_listed(self, anomalies: pl.DataFrame) -> None:
        """Read these anomalies again: what is not found any more has healed, or its job is gone."""
        if anomalies.height:
            job_ids = anomalies["job_id"].unique()
            self._read(listed(uuids(job_ids)))
            self._look_at(self._listed.filter(pl.col("job_id").is_in(job_ids.implode())))

    def _look_at(self, known: pl.DataFrame) -> None:
        """These are in what was read, or no longer in the source."""
        self._looked_at.append(known.with_columns(owner="organization_id"))

    def _to_read_again(self) -> pl.DataFrame:
        listed = self._listed.filter(of_organizations(self._scope))
        if self._request.compares:
            return listed
        heals = pl.col("reason").is_in([reason.value for reason in HEAL_BY_THEMSELVES])
        return listed.filter(heals | of_organizations(self._cut_off()))

    def _cut_off(self) -> list[UUID]:
        """The organizations whose facts are newer than what is published.

        A run that was cut off may have found jobs gone: their facts are tombstones, and their anomalies are
        still listed.
        """
        known = {key: self._seen[key] for key in self._scope & self._seen.keys()}
        return [key for key, seen in known.items() if seen.published_version != self._facts.version]

    def _swept_anew(self) -> Asked | Swept | None:
        """What of the sweep is to be read; count the jobs of every organization on the way.

        A comparison by checksums counts for itself, and sealed history has more facts than the source rows.
        """
        if not self.swept.horizons and self.swept.only_listed:
            return None
        known = {key for key, horizon in self.swept.horizons.items() if horizon is not None}
        if not known or self._request.compares or self._settings.sealed_before_at:
            return self.swept
        census = self._source.census(self.swept)
        passing(FaultPoint.CENSUS_READ)
        self._reported = census.reported
        all_are_known = census.reported.keys() <= known == self.swept.horizons.keys()
        if "jobs" in self._source.read_whole or not all_are_known:
            return self.swept
        return census.changed or self.swept

    def _miscounted(self) -> frozenset[UUID]:
        """The organizations with other numbers of jobs in the source than the facts and the list account for.

        Each job that is neither unfinished nor deleted counts or is listed. Organizations whose deletes are
        held back already are left to the next comparison by checksums.
        """
        mine = [
            key
            for key, horizon in self.swept.horizons.items()
            if horizon is not None and not self._seen[key].is_guarded
        ]
        if self._reported is None or not mine:
            return frozenset()
        accounted = self._jobs_accounted_for()
        return frozenset(key for key in mine if accounted[key] != self._reported.get(key, 0))

    def _jobs_accounted_for(self) -> Counter[UUID]:
        """How many jobs of each organization count, or are listed, when what was read is merged."""
        jobs = Counter(self._facts.rows_by_organization())
        listed = self._listed
        if self._spool.rows:
            columns = ["job_id", "organization_id", "created_date", TOMBSTONE]
            read = self._spool.scan().select(columns).unique("job_id").collect(engine="in-memory")
            jobs.update(counts(read.lazy().filter(pl.col(TOMBSTONE).is_null())))
            # A job that has another day of creation by now counts twice: checksums tell.
            before = self._facts.scan().filter(pl.col("created_date").is_in(read["created_date"].implode()))
            jobs.subtract(counts(before.join(read.lazy(), on="job_id", how="semi")))
            left, found = listed.join(read, on="job_id", how="anti"), self.found()
            listed = pl.concat([left, found.select(listed.columns)])
        not_counted = listed.filter(pl.col("reason").is_in([reason.value for reason in NOT_COUNTED]))
        jobs.update(counts(not_counted.unique(["organization_id", "job_id"]).lazy()))
        return jobs

    def _read(self, asked: Asked | Swept) -> None:
        for jobs in prefetch(self._source.jobs(asked), cancel=self._source.cancel):
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
            self._run.stages.tell("extract", self._spool.rows)

    def found(self) -> pl.DataFrame:
        """What is wrong with the jobs that were read, one row per job and reason."""
        if not self._found:
            return NOTHING_FOUND
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

    def _read_days(self, days: pl.DataFrame) -> None:
        self._read(created_on(days))
        self._read_orphans()

    def _read_ids(self, ids: Sequence[UUID]) -> None:
        self._read(listed(ids))

    def _checksums_there(self, organization_ids: Collection[UUID]) -> pl.DataFrame:
        return self._source.checksums(
            organization_ids=list(organization_ids),
            created_since=self._request.created_since,
            completed=self._compared_range(),
            earliest=self._settings.earliest_completion_at,
            tolerance=self._settings.future_tolerance,
        )

    def _compared(self, rows: pl.LazyFrame, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        if organization_ids:
            rows = rows.filter(of_organizations(organization_ids))
        if completed := self._compared_range():
            rows = rows.filter(between(*completed))
        if since := self._request.created_since:
            rows = rows.filter(pl.col("created_date") >= since)
        return rows

    def _asked_for(self) -> pl.Expr:
        """Jobs that completed outside the range are none of its business."""
        return self._completed.holds() if self._completed else pl.lit(True)

    def _compared_range(self) -> Instants | None:
        """Wider than what some organizations are asked about: days read again have no effect."""
        return (self._completed.since, self._completed.until) if self._completed else None


def _scope(asked: Sequence[UUID], known: set[UUID]) -> set[UUID]:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    return set(asked) or known
