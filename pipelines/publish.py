"""From the facts to the aggregates: recompute the cells that changed, replace them in one transaction."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.compute.aggregate import MEASURED_COLUMNS, Aggregator, Numbered, emptied
from pipelines.compute.chunks import bucket_sizes, in_buckets, parts
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.errors import FeedLost, PublishConflict
from pipelines.extract import Extraction
from pipelines.model.metrics import DIMENSIONS, KEY_COLUMNS
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import ROLLUP_PLAN
from pipelines.read_ahead import read_ahead
from pipelines.settings import Settings
from pipelines.stages import Stages
from pipelines.storage.aggregates import Publication
from pipelines.storage.anomalies import list_anomalies, unlist_anomalies
from pipelines.storage.cursors import Progress, find_progress, move
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import JobFacts, open_facts
from pipelines.storage.frames import id_series
from pipelines.storage.names import copy_names
from pipelines.storage.spool import Spool, temporary_spool
from pipelines.storage.statements import statement

# How many jobs are aggregated at a time: this, not the backlog, decides how much memory a run takes.
CHUNK_JOBS: Final = 250_000

Cells = Generator[pl.DataFrame, None, None]

# Read once for each outer bucket; a month holds whole days and hours, weeks lie across.
_NESTED: Final[Mapping[Period, tuple[Period, ...]]] = {
    Period.MONTH: (Period.HOUR, Period.DAY, Period.MONTH),
    Period.WEEK: (Period.WEEK,),
}


@dataclass
class Published:
    """How many cells were computed anew, written because they differed, and deleted because emptied."""

    computed: int = 0
    written: int = 0
    deleted: int = 0


def publish(databases: Databases, settings: Settings, extraction: Extraction, stages: Stages) -> Published:
    """Make the cells of the extraction's organizations, and what goes with them, those of the newest facts.

    The caller holds the refresh lock. Raises `PublishConflict` when somebody published meanwhile.
    """
    with (
        connect(databases.analytics_url, settings) as analytics,
        temporary_spool(settings.home) as images,
        Aggregator(statement("compute/cells.sql")) as aggregator,
    ):
        seen = find_progress(analytics)
        if seen != extraction.seen:
            raise PublishConflict
        facts = open_facts(settings)
        if facts.table_id != extraction.facts_table_id or facts.version < extraction.facts_version:
            raise PublishConflict
        scope = set(extraction.organization_ids)
        published = {key for key in scope & set(seen) if seen[key].facts_version is not None}
        whole = {key for key in published if not seen[key].shows(facts)}
        with stages.timed("compute"):
            try:
                for batch in unpublished_images(facts, {key: seen[key] for key in published - whole}):
                    images.add(batch)
            except FeedLost:
                whole = published
        with stages.timed("publish"):
            publication = Publication(analytics, extraction.moment.extracted_at)
        desk = _Desk(facts, aggregator, stages)
        desk.pass_on(desk.all_cells(scope - published), publication.add_first)
        desk.pass_on(desk.all_cells(whole), publication.stage)
        if whole != published:
            desk.pass_on(desk.changed_cells(images), publication.stage)
        with stages.timed("publish"):
            publication.replace(sorted(whole))
            copy_names(analytics, extraction.names)
            unlist_anomalies(analytics, extraction.healed)
            list_anomalies(analytics, extraction.found, extraction.moment.extracted_at)
            move(analytics, extraction.organization_ids, seen=seen, moment=extraction.moment, facts=facts)
            analytics.commit()
        return Published(desk.computed, publication.written, publication.deleted)


def unpublished_images(facts: JobFacts, published: Mapping[UUID, Progress]) -> Iterator[pl.DataFrame]:
    """Yield the jobs of these organizations that changed since their publication, as they were and are.

    Columns: `organization_id, completed_at` and the dimensions.
    """
    versions = {key: seen.facts_version or 0 for key, seen in published.items() if seen.shows(facts)}
    if not versions:
        return
    seen = pl.DataFrame(
        {
            "organization_id": id_series("organization_id", versions),
            "seen": pl.Series(list(versions.values()), dtype=pl.Int64),
        }
    )
    for batch in facts.images_since(min(versions.values())):
        recent = batch.join(seen, on="organization_id").filter(pl.col("_commit_version") > pl.col("seen"))
        yield recent.select("organization_id", "completed_at", *DIMENSIONS)


class _Desk:
    """Where jobs become cells, some at a time; `computed` counts them."""

    def __init__(self, facts: JobFacts, aggregator: Aggregator, stages: Stages) -> None:
        self._facts, self._aggregator, self._stages = facts, aggregator, stages
        self.computed = 0

    def pass_on(self, cells: Cells, write: Callable[[pl.DataFrame], None]) -> None:
        """Write cells as they come, while the next ones are computed."""
        for chunk in read_ahead(self._stages.timed_each("compute", cells)):
            with self._stages.timed("publish"):
                write(chunk)
            self.computed += chunk.height
            self._stages.tell("publish", self.computed)

    def all_cells(self, organization_ids: Iterable[UUID]) -> Cells:
        """Yield every cell of these organizations."""
        mine = pl.col("organization_id").is_in(id_series("organization_id", organization_ids).implode())
        jobs = self._facts.scan().select(MEASURED_COLUMNS).filter(mine)
        for outer, periods in _NESTED.items():
            for part in parts(bucket_sizes(jobs, outer), CHUNK_JOBS):
                numbered = Numbered.of(in_buckets(jobs, part, outer).collect())
                for period in periods:
                    yield self._aggregator.cells(numbered, period, ROLLUP_PLAN[period])

    def changed_cells(self, images: Spool) -> Cells:
        """Yield every cell that a job left or entered; one that no job is left in counts no executions."""
        if not images.rows:
            return
        changed, jobs = images.scan(), self._facts.scan().select(MEASURED_COLUMNS)
        for outer, periods in _NESTED.items():
            dirty = bucket_sizes(changed, outer)
            there = bucket_sizes(in_buckets(jobs, dirty, outer), outer)
            for part in parts(pl.concat([dirty, there]), CHUNK_JOBS):
                numbered = Numbered.of(in_buckets(jobs, part, outer).collect())
                these = in_buckets(changed, part, outer).collect()
                for period in periods:
                    wanted = dirty_cells(these, period, ROLLUP_PLAN[period])
                    # The part consists of dirty outer buckets already.
                    affected = numbered if period is outer else numbered.within(wanted, period)
                    cells = self._aggregator.cells(affected, period, ROLLUP_PLAN[period])
                    yield cells.join(wanted, on=KEY_COLUMNS, how="semi")
                    yield emptied(wanted.join(cells, on=KEY_COLUMNS, how="anti"))
