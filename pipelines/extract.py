"""From the source to the facts: read what changed, judge it, merge it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl

from pipelines.compute.validate import FOUND_COLUMNS, anomalies, changes, with_verdict
from pipelines.errors import UnknownOrganization
from pipelines.model.anomalies import HEAL_BY_THEMSELVES
from pipelines.read_ahead import read_ahead
from pipelines.settings import Settings
from pipelines.stages import Stages
from pipelines.storage.anomalies import find_listed
from pipelines.storage.cursors import Progress, disown_lost_versions, find_progress
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import Absorbed, JobFacts, open_facts
from pipelines.storage.frames import id_series, uuids
from pipelines.storage.source import Moment, Names, SourceSnapshot, Wanted, open_snapshot
from pipelines.storage.spool import Spool, temporary_spool

# As the facts lie in their files.
_FACTS_ORDER = ("created_date", "organization_id", "completed_at")


@dataclass(frozen=True)
class CompletedIn:
    """Jobs that completed in [since, until)."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Extraction:
    """What one snapshot of the source held; its jobs are in the facts, the rest waits to be published.

    `found` are anomalies seen and `healed` listed ones seen no more; `seen` is how far everybody was.
    Until it is published the cursors stay, so a later refresh reads what changed again; what only a
    range asked for is read again by another reconcile.
    """

    moment: Moment
    names: Names
    found: pl.DataFrame
    healed: pl.DataFrame
    organization_ids: tuple[UUID, ...]
    seen: Mapping[UUID, Progress]
    jobs_read: int
    absorbed: Absorbed
    facts_table_id: UUID
    facts_version: int
    seconds: Mapping[str, float]


def extract(
    databases: Databases,
    settings: Settings,
    organization_ids: Sequence[UUID],
    completed: CompletedIn | None,
    stages: Stages,
) -> Extraction:
    """Merge into the facts what changed since the cursors, and what `completed` asks for again.

    The caller holds the refresh lock. Raises `UnknownOrganization`, `SourceMissing`, `FactsUnusable`.
    """
    facts = open_facts(settings)
    with connect(databases.analytics_url, settings) as analytics:
        disown_lost_versions(analytics, facts)
        seen = find_progress(analytics)
        listed = find_listed(analytics)
    with temporary_spool(settings.home) as spool:
        with stages.timed("extract"), open_snapshot(databases.source_url, settings) as source:
            everyone = set(uuids(source.organizations()["id"]))
            scope = _scope(organization_ids, everyone | set(seen))
            horizons = {key: _horizon(seen.get(key), source.moment, facts) for key in scope}
            wanted = Wanted(
                horizons=horizons,
                only_listed=bool(organization_ids),
                since=completed.since if completed else None,
                until=completed.until if completed else None,
                job_ids=_to_read_again(listed, scope, all_of_them=completed is not None),
            )
            names = source.names(wanted)
            reader = _Reader(source, settings, spool, listed, stages)
            reader.read(wanted)
            read_whole = {key for key, horizon in horizons.items() if horizon is None}
            reader.read_what_the_source_lacks(_expected(facts, scope, completed, read_whole))
        with stages.timed("facts"):
            absorbed = _absorb(facts, spool, stages)
        return Extraction(
            moment=source.moment,
            names=names,
            found=reader.found(),
            healed=reader.healed(),
            organization_ids=tuple(sorted(scope | (set() if organization_ids else reader.organizations))),
            seen=seen,
            jobs_read=spool.rows,
            absorbed=absorbed,
            facts_table_id=facts.table_id,
            facts_version=facts.version,
            seconds=stages.seconds,
        )


def _scope(asked: Sequence[UUID], known: set[UUID]) -> set[UUID]:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    return set(asked) or known


def _horizon(progress: Progress | None, moment: Moment, facts: JobFacts) -> int | None:
    """Where to go on reading an organization; None, from the beginning, when the past is another source's."""
    if progress is None or not progress.shows(facts):
        return None
    if progress.incarnation != moment.incarnation or progress.horizon > moment.horizon:
        return None
    return progress.horizon


def _to_read_again(listed: pl.DataFrame, scope: set[UUID], *, all_of_them: bool) -> list[UUID]:
    listed = listed.filter(pl.col("organization_id").is_in(id_series("organization_id", scope).implode()))
    if not all_of_them:
        listed = listed.filter(pl.col("reason").is_in([reason.value for reason in HEAL_BY_THEMSELVES]))
    return uuids(listed["job_id"].unique())


class _Reader:
    """Judges rows as they stream in, spools them for the facts, and keeps only the anomalies."""

    def __init__(
        self, source: SourceSnapshot, settings: Settings, spool: Spool, listed: pl.DataFrame, stages: Stages
    ) -> None:
        self._source, self._settings, self._spool, self._stages = source, settings, spool, stages
        self._listed = listed
        self._found: list[pl.DataFrame] = []
        self._looked_at: list[pl.DataFrame] = []
        self.organizations: set[UUID] = set()

    def read(self, wanted: Wanted) -> None:
        for jobs in read_ahead(self._source.jobs(wanted), cancel=self._source.cancel):
            judged = with_verdict(
                jobs,
                clock=self._source.moment.extracted_at,
                earliest=self._settings.earliest_completion_at,
                tolerance=self._settings.future_tolerance,
            )
            found = anomalies(judged).rows()
            # Made anew, because a few rows of a frame keep all of its ids in memory.
            self._found.append(pl.DataFrame(found, schema=FOUND_COLUMNS, orient="row"))
            self._looked_at.append(self._listed.join(judged.select("job_id"), on="job_id", how="semi"))
            self.organizations.update(uuids(judged["organization_id"].unique()))
            self._spool.add(changes(judged))
            self._stages.tell("extract", self._spool.rows)
        asked_for = id_series("job_id", wanted.job_ids).implode()
        self._looked_at.append(self._listed.filter(pl.col("job_id").is_in(asked_for)))

    def read_what_the_source_lacks(self, expected: pl.LazyFrame) -> None:
        """Read the jobs of these facts that were not met, wherever they are; those of nowhere are gone."""
        missing = self._unread(expected)
        if missing.is_empty():
            return
        self.read(Wanted({}, only_listed=True, job_ids=uuids(missing["job_id"])))
        gone = self._unread(missing.lazy())
        self._spool.add(gone.with_columns(counts=pl.lit(False)).select(*gone.columns, "counts"))

    def _unread(self, facts: pl.LazyFrame) -> pl.DataFrame:
        if self._spool.rows:
            facts = facts.join(self._spool.scan().select("job_id"), on="job_id", how="anti")
        return facts.collect()

    def found(self) -> pl.DataFrame:
        every = pl.concat([pl.DataFrame(schema=FOUND_COLUMNS), *self._found])
        return every.unique(["job_id", "reason"], keep="last")

    def healed(self) -> pl.DataFrame:
        looked_at = pl.concat([self._listed.clear(), *self._looked_at]).unique()
        return looked_at.join(self.found(), on=["job_id", "reason"], how="anti")


def _expected(
    facts: JobFacts, scope: set[UUID], completed: CompletedIn | None, read_whole: set[UUID]
) -> pl.LazyFrame:
    """The facts whose jobs must have been read: all of organizations read whole, else those of the range."""
    expected = pl.col("organization_id").is_in(id_series("organization_id", read_whole).implode())
    if completed:
        in_range = pl.col("completed_at").is_between(completed.since, completed.until, closed="left")
        mine = pl.col("organization_id").is_in(id_series("organization_id", scope).implode())
        expected |= in_range & mine
    return facts.scan().filter(expected)


def _absorb(facts: JobFacts, spool: Spool, stages: Stages) -> Absorbed:
    # Chunks share no job, so while the first ones fill an empty table there is nothing to look up.
    absorb = facts.fill if facts.empty else facts.absorb
    absorbed = Absorbed()
    for chunk in spool.chunks(_FACTS_ORDER):
        absorbed += absorb(chunk)
        stages.tell("facts", absorbed.inserted + absorbed.updated + absorbed.deleted)
    return absorbed
