"""A new definition: every cell is computed anew from the facts alone, range by range."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import Connection

from pipelines.compute import engine as recompute
from pipelines.compute.cells import cells_statement
from pipelines.errors import FactsUnusable
from pipelines.extract.request import Request
from pipelines.facts.fact_table import open_facts
from pipelines.fault_points import FaultPoint
from pipelines.postgres.connections import Databases
from pipelines.publish import recompute as rebuilding
from pipelines.publish.publisher import Published
from pipelines.publish.recompute import find_stale
from pipelines.subjects.jobs import JOBS
from tests.support import oracle
from tests.support.faults.runs import Killed, struck_at
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Cell, Key, Tenant, cells, change_job
from tests.support.restatement_oracle import figures

DEFINITIONS = {
    "more dimensions": "hour=2 day=3 week=3 month=3",
    "fewer dimensions": "hour=0 day=1 week=2 month=1",
    "some more, some fewer": "hour=1 day=3 week=1 month=3",
}

# The first definition is that of the first refresh, and the second one is that of steps.
SECOND = 3


Define = Callable[[str], Pipeline]


@pytest.fixture
def define(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Define:
    """A function that gives a pipeline with another rollup plan, and makes the oracle follow it."""

    def to(plan: str) -> Pipeline:
        depths = {period: int(depth) for period, depth in (part.split("=") for part in plan.split())}
        combinations = [
            (period, chosen)
            for period, depth in depths.items()
            for chosen in product((False, True), repeat=3)
            if sum(chosen) <= depth
        ]
        monkeypatch.setattr(oracle, "PLAN", combinations)
        return pipeline.having(rollup_plan=plan)

    return to


@pytest.fixture
def pair(pipeline: Pipeline) -> Pair:
    """Two refreshed organizations with jobs in five months, one of them far from UTC."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.live_in(tenants[0], "America/New_York")
    for tenant in tenants:
        pipeline.plant_jobs(
            tenant,
            [
                {
                    "completed_at": NOON + number * 11 * DAY + 13 * HOUR,
                    "started_at": NOON + number * 11 * DAY + 13 * HOUR - (number + 1) * MINUTE,
                    "workflow_id": tenant.workflows[number % 2],
                    "client_id": (*tenant.clients, None)[number % 3],
                    "status": ("COMPLETED", "FAILED")[number % 4 == 0],
                }
                for number in range(14)
            ],
        )
    pipeline.refresh()
    return tenants


@pytest.fixture
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four jobs fill a range, so that each organization takes several."""
    monkeypatch.setattr(rebuilding, "CHUNK_ROWS", 4)


@pytest.fixture
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a range takes several portions."""
    monkeypatch.setattr(recompute, "CHUNK_ROWS", 4)


@pytest.mark.usefixtures("pair", "_small_ranges", "_small_portions")
@pytest.mark.parametrize("plan", DEFINITIONS)
def test_a_rebuild_needs_the_facts_alone(define: Define, pipeline: Pipeline, plan: str) -> None:
    """With a source that cannot be reached, every cell becomes what SQL says of the new definition."""
    before = pipeline.cells()
    other = define(DEFINITIONS[plan])
    version = open_facts(other.settings).version
    nowhere = Databases(pipeline.databases.analytics_url, "postgresql://127.0.0.1:1/nowhere")

    report = replace(other, databases=nowhere).rebuild()["jobs"]

    after = pipeline.cells()
    assert differences(after, cells_by_sql(pipeline.source)) == []
    assert versions(after) == {SECOND}
    assert report == Published(
        computed=len(after),
        written=len(after),
        deleted=len(before.keys() - after.keys()),
        restated=len(before.keys() ^ after.keys()),
    )
    assert open_facts(other.settings).version == version
    assert stale(other) == ()
    verified = other.verify()
    assert (verified.differences, verified.cells_pending, verified.cells_compared) == ((), 0, len(after))


@pytest.mark.usefixtures("pair")
def test_another_percentile_is_another_definition(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the figures of that name change; a cell of jobs that all took as long stays as it was computed."""
    monkeypatch.setitem(vars(JOBS.measure("p90_duration_ms")), "share", 0.8)
    monkeypatch.setattr("pipelines.compute.cells.cells_statement", cells_statement.__wrapped__)
    monkeypatch.setitem(oracle.SHARES, "p90_duration_ms", oracle.Fraction(4, 5))
    before = pipeline.cells()

    pipeline.rebuild()

    after = pipeline.cells()
    assert differences(after, cells_by_sql(pipeline.source)) == []
    changed = {key for key in after if figures(after[key]) != figures(before[key])}
    assert 0 < len(changed) < len(after)
    for key, cell in after.items():
        unlike = {name for name, value in cell.items() if value != before[key][name]}
        expected = {"definition_version"} | ({"p90_duration_ms", "computed_at"} if key in changed else set())
        assert unlike == expected


@pytest.mark.usefixtures("pair")
def test_without_a_new_definition_nothing_is_written(pipeline: Pipeline, define: Define) -> None:
    """Neither at first nor a second time: every row stays the very row it was."""
    before = pipeline.row_versions()
    unneeded = pipeline.rebuild()["jobs"]
    untouched = pipeline.row_versions()
    other = define(DEFINITIONS["more dimensions"])
    other.rebuild()
    rebuilt = pipeline.row_versions()

    again = other.rebuild()["jobs"]

    assert unneeded == again == Published()
    assert untouched == before
    assert pipeline.row_versions() == rebuilt


@pytest.mark.usefixtures("pair")
def test_a_refresh_brings_everybody_to_the_current_definition(pipeline: Pipeline, define: Define) -> None:
    """Until then verify counts the cells as pending, old and new ones, and none as different."""
    before = pipeline.cells()
    other = define(DEFINITIONS["some more, some fewer"])
    expected = cells_by_sql(pipeline.source)

    waiting = other.verify()
    report = other.refresh()

    assert (waiting.differences, waiting.cells_compared) == ((), 0)
    assert waiting.cells_pending == len(before.keys() | expected.keys())
    assert report.cells_written == len(expected)
    assert differences(pipeline.cells(), expected) == []
    assert other.verify().cells_pending == 0
    assert other.refresh().cells_written == 0


@pytest.mark.usefixtures("pair", "_small_ranges")
@pytest.mark.parametrize("point", [FaultPoint.BEFORE_COMMIT, FaultPoint.AFTER_COMMIT])
def test_a_killed_rebuild_goes_on_where_it_was(pipeline: Pipeline, define: Define, point: FaultPoint) -> None:
    """Each range is wholly old or wholly new, what is done is not done again, and the end is right."""
    old = pipeline.cells()
    other = define(DEFINITIONS["some more, some fewer"])
    new = cells_by_sql(pipeline.source)

    with struck_at(3, only=point), pytest.raises(Killed):
        other.rebuild()

    check_ranges(pipeline.analytics, old, new)
    half = pipeline.row_versions()
    so_far = [key for key, cell in pipeline.cells().items() if cell["definition_version"] == SECOND]
    assert so_far
    assert other.verify().differences == ()

    rest = other.rebuild()["jobs"]

    assert differences(pipeline.cells(), new) == []
    assert rest.computed == len(new) - len(so_far)
    kept = pipeline.row_versions()
    assert {key: kept[key] for key in so_far} == {key: half[key] for key in so_far}
    assert stale(other) == ()


@pytest.mark.usefixtures("_small_ranges")
@pytest.mark.parametrize("ranges", [0, 2])
def test_a_refresh_in_the_middle_of_a_rebuild_keeps_everything_right(
    pair: Pair, pipeline: Pipeline, define: Define, ranges: int
) -> None:
    """Jobs change in ranges that are done and in others, and a refresh publishes them before the rest."""
    tenant, neighbour = pair
    other = define(DEFINITIONS["some more, some fewer"])
    with struck_at(ranges, only=FaultPoint.AFTER_COMMIT), pytest.raises(Killed):
        other.rebuild()
    for whose in (tenant, neighbour):
        for day in (0, 44, 132):
            pipeline.plant_job(whose, completed_at=NOON + day * DAY, workflow_id=whose.workflows[1])
    move(pipeline.source, tenant, NOON, 70 * DAY)
    move(pipeline.source, neighbour, NOON + 100 * DAY, -90 * DAY)

    with struck_at(0, only=FaultPoint.REBUILD_SETTLED), pytest.raises(Killed):
        other.refresh()

    assert other.verify().differences == ()
    assert stale(other) != ()
    other.rebuild()
    assert pipeline.differences() == []
    assert other.refresh().cells_written == 0


@pytest.mark.usefixtures("pair", "_small_ranges")
@pytest.mark.parametrize("third", ["another", "the first again"])
def test_a_definition_that_changes_during_a_rebuild_starts_over(
    pipeline: Pipeline, define: Define, third: str
) -> None:
    """Ranges of the abandoned definition are computed anew like those that it had not reached."""
    other = define(DEFINITIONS["some more, some fewer"])
    with struck_at(2, only=FaultPoint.AFTER_COMMIT), pytest.raises(Killed):
        other.rebuild()
    last = define(DEFINITIONS["fewer dimensions"] if third == "another" else "hour=1 day=2 week=3 month=3")
    between = last.verify()

    last.refresh()

    assert between.differences == ()
    assert pipeline.differences() == []
    assert len(versions(pipeline.cells())) == 1
    assert stale(last) == ()
    assert last.refresh().cells_written == 0


@pytest.mark.usefixtures("_small_ranges")
def test_a_definition_may_come_back_after_another_was_published(
    pair: Pair, pipeline: Pipeline, define: Define
) -> None:
    """What was written by the one between counts as of neither, wherever the first rebuild had got to."""
    other = DEFINITIONS["more dimensions"]
    with struck_at(2, only=FaultPoint.AFTER_COMMIT), pytest.raises(Killed):
        define(other).rebuild()
    for whose in pair:
        pipeline.plant_job(whose, client_id=whose.clients[1], workflow_id=whose.workflows[1])
    between = define("hour=1 day=2 week=3 month=3")
    with struck_at(0, only=FaultPoint.AFTER_COMMIT), pytest.raises(Killed):
        between.having(batch_organizations=500).refresh()

    define(other).refresh()

    assert pipeline.differences() == []
    assert stale(define(other)) == ()


def test_who_has_unpublished_facts_waits(pair: Pair, pipeline: Pipeline, define: Define) -> None:
    """A rebuild shows nothing of what no publication has shown; the others are rebuilt at once."""
    tenant, neighbour = pair
    pipeline.plant_job(tenant)
    pipeline.extract_changes(Request())
    before = pipeline.row_versions(tenant.organization)
    other = define(DEFINITIONS["some more, some fewer"])

    other.rebuild()

    assert stale(other) == (tenant.organization,)
    assert pipeline.row_versions(tenant.organization) == before
    assert versions(pipeline.cells(neighbour.organization)) == {SECOND}
    other.refresh()
    assert stale(other) == ()
    assert pipeline.differences() == []


@pytest.mark.usefixtures("pair")
def test_lost_facts_rebuild_nothing(pipeline: Pipeline, define: Define, tmp_path: Path) -> None:
    """An empty folder does not mean that there are no jobs: cells stay until the source was read again."""
    before = pipeline.row_versions()
    other = define(DEFINITIONS["some more, some fewer"]).having(facts_url=str(tmp_path / "elsewhere"))

    report = other.rebuild()["jobs"]

    assert report == Published()
    assert pipeline.row_versions() == before
    assert len(stale(other)) == 2
    other.refresh()
    assert pipeline.differences() == []


@pytest.mark.usefixtures("pair")
def test_facts_that_turn_out_to_be_damaged_are_named(pipeline: Pipeline, define: Define) -> None:
    """No range is replaced by what damaged files say; a refresh puts them aside and finishes the rebuild."""
    spoil(sorted(Path(pipeline.settings.facts_location).rglob("*.parquet"))[0])
    before = pipeline.row_versions()
    other = define(DEFINITIONS["some more, some fewer"])

    with pytest.raises(FactsUnusable):
        other.rebuild()

    assert pipeline.row_versions() == before
    other.refresh()
    assert pipeline.differences() == []


def test_one_that_cannot_be_rebuilt_does_not_stop_the_others(
    pair: Pair, pipeline: Pipeline, define: Define
) -> None:
    """It is named, its cells stay, and the next rebuild tries again."""
    tenant, neighbour = pair
    before = pipeline.row_versions(tenant.organization)
    other = define(DEFINITIONS["some more, some fewer"])

    with refused_rows(pipeline.analytics, tenant):
        report = other.rebuild()["jobs"]

    assert report.failed == {tenant.organization: "RaiseException"}
    assert pipeline.row_versions(tenant.organization) == before
    assert versions(pipeline.cells(neighbour.organization)) == {SECOND}
    assert pipeline.select(
        "SELECT organization_id, error_class FROM analytics.refresh_outcomes WHERE outcome = 'failed'"
    ) == [(tenant.organization, "RaiseException")]
    other.rebuild()
    assert pipeline.differences() == []


def stale(pipeline: Pipeline) -> tuple[UUID, ...]:
    """The organizations whose cells are of another definition."""
    return find_stale(pipeline.run, JOBS)


def versions(stored: dict[Key, Cell]) -> set[int]:
    """The definitions of these cells."""
    return {cell["definition_version"] for cell in stored.values()}


def check_ranges(analytics: Connection, old: dict[Key, Cell], new: oracle.Cells) -> None:
    """Up to where an organization is its cells are new, from there on old: none missing, none left over."""
    reached: dict[object, datetime] = dict(
        analytics.execute(
            "SELECT organization_id, CASE WHEN definition_version = 3 THEN '9999-01-01'"
            " ELSE coalesce(rebuilt_before, '1970-01-01') END FROM analytics.watermarks"
        ).fetchall()
    )
    stored = cells(analytics)
    done = {key for key in stored.keys() | old.keys() | new.keys() if key[2] < reached[key[0]]}
    rest = stored.keys() - done
    found, expected = ({key: side[key] for key in side.keys() & done} for side in (stored, new))
    assert differences(found, expected) == []
    assert {key: stored[key] for key in rest} == {key: cell for key, cell in old.items() if key not in done}


@contextmanager
def refused_rows(analytics: Connection, tenant: Tenant) -> Iterator[None]:
    """Have the database refuse every cell of a tenant."""
    analytics.execute(
        "CREATE FUNCTION analytics.refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
    )
    analytics.execute(
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_metrics FOR EACH ROW"
        f" WHEN (NEW.organization_id = '{tenant.organization}') EXECUTE FUNCTION analytics.refuse()"
    )
    yield
    analytics.execute("DROP FUNCTION analytics.refuse CASCADE")


def move(source: Connection, tenant: Tenant, since: datetime, so_far: timedelta) -> None:
    """Have the tenant's next job after a moment have ended at another time."""
    ((job, ended),) = source.execute(
        "SELECT id, completed_at FROM orchestration.jobs WHERE organization_id = %s AND completed_at >= %s"
        " ORDER BY completed_at LIMIT 1",
        [tenant.organization, since],
    ).fetchall()
    change_job(source, job, completed_at=ended + so_far)


def spoil(file: Path) -> None:
    """Damage a file so that only reading it tells."""
    was = file.stat()
    file.write_bytes(b"PAR1" + b"\0" * (was.st_size - 8) + b"PAR1")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
