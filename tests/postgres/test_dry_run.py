"""A dry run tells what a reconcile would change, and changes nothing itself."""

import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from pipelines.extract.request import Request
from pipelines.postgres.tables import METADATA
from pipelines.publish.writer import CellChange
from pipelines.runs.dry_run import OrganizationDryRun, SubjectDryRun
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Cell, Key
from tests.support.restatement_oracle import figures

RANGE: dict[str, Any] = {"since": NOON - DAY, "until": NOON + 5 * DAY}


@pytest.fixture
def pair(pipeline: Pipeline) -> Pair:
    """Two refreshed organizations with a job on each of nine days."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for tenant in tenants:
        pipeline.plant_jobs(tenant, [{"completed_at": NOON + day * DAY} for day in range(9)])
    pipeline.refresh()
    return tenants


def test_a_dry_run_tells_what_the_reconcile_then_does(pair: Pair, pipeline: Pipeline) -> None:
    """Cells of each organization are counted; the largest changes come first, with old and new figures."""
    tenant, neighbour = pair
    jobs = pipeline.plant_jobs(tenant, [{"client_id": None} for _ in range(6)])
    pipeline.refresh()
    pipeline.change_job(jobs[0], status="FAILED", started_at=NOON - HOUR)
    pipeline.change_job(jobs[1], workflow_id=tenant.workflows[1])
    pipeline.change_job(jobs[2], deleted_at=NOON)
    pipeline.change_job(jobs[3], completed_at=NOON + 40 * DAY)
    pipeline.delete_jobs(jobs[4])
    pipeline.plant_jobs(tenant, [{"completed_at": NOON + 3 * DAY} for _ in range(7)])
    pipeline.live_in(neighbour, "Asia/Tokyo")
    pipeline.plant_job(neighbour, completed_at=NOON + 3 * DAY)

    proposed = checked(pipeline)

    said = {each.organization_id: each for each in proposed}
    assert said[tenant.organization].jobs.rows == 12
    assert {abs(change.new["total_executions"] - 1) for change in said[tenant.organization].jobs.largest} == {
        7
    }


def test_a_dry_run_writes_nothing(pair: Pair, pipeline: Pipeline) -> None:
    """No row of any table is written anew, on neither side, and no file of the facts."""
    tenant, neighbour = pair
    pipeline.delete_jobs_of(tenant)
    pipeline.live_in(neighbour, "Asia/Tokyo")
    pipeline.plant_job(neighbour, started_at=NOON + MINUTE)
    before = everything(pipeline.analytics), files(pipeline.settings)

    proposed = pipeline.dry_run(**RANGE)

    assert len(proposed) == 2
    assert (everything(pipeline.analytics), files(pipeline.settings)) == before


def test_nothing_to_change_is_nothing_to_say(pair: Pair, pipeline: Pipeline) -> None:
    """Equal databases give an empty dry run, and so does a change that no figure shows."""
    tenant, _ = pair
    pipeline.change_job(pipeline.plant_job(tenant, status="RUNNING", completed_at=None), status="CANCELLED")

    assert pipeline.dry_run(**RANGE) == ()


def test_what_is_outside_the_range_counts_where_a_reconcile_reads_it(pair: Pair, pipeline: Pipeline) -> None:
    """Changed rows are read wherever they are, deleted ones only in the range; so does the dry run."""
    tenant, neighbour = pair
    pipeline.plant_job(tenant, completed_at=NOON + 300 * DAY)
    pipeline.source.execute(
        "DELETE FROM orchestration.jobs WHERE organization_id = %s AND completed_at >= %s",
        [neighbour.organization, RANGE["until"]],
    )

    proposed = checked(pipeline)

    assert [each.organization_id for each in proposed] == [tenant.organization]


def test_a_dry_run_can_be_of_one_organization(pair: Pair, pipeline: Pipeline) -> None:
    """Others are not told of, though they changed too; a job that came from them is told once."""
    tenant, neighbour = pair
    moving = pipeline.plant_job(neighbour)
    pipeline.refresh()
    pipeline.give_job(moving, tenant)
    only = {"organization_ids": [tenant.organization]}

    proposed = checked(pipeline, **only)

    assert [each.organization_id for each in proposed] == [tenant.organization]


def test_suspiciously_many_deletions_are_told_and_not_believed(pipeline: Pipeline) -> None:
    """The organization would stay as it is; with `accept_deletes` its cells would go."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_jobs(tenant, [{"completed_at": NOON + number * MINUTE} for number in range(1_100)])
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    pipeline.delete_jobs_of(tenant)
    pipeline.plant_job(tenant, completed_at=NOON + 3 * DAY)
    pipeline.plant_job(neighbour)
    before = pipeline.cells()

    guarded = pipeline.dry_run(**RANGE)
    accepted = pipeline.dry_run(**RANGE, accept_deletes=True)

    said = {each.organization_id: each for each in guarded}
    assert said[tenant.organization] == OrganizationDryRun(
        tenant.organization, SubjectDryRun(1, 0, 1_100, "DeletesNotAccepted"), SubjectDryRun()
    )
    assert said[neighbour.organization].jobs.cells == 27
    pipeline.reconcile(**RANGE, accept_deletes=True)
    check(accepted, before, pipeline.cells())


def test_an_unknown_time_zone_is_told(pair: Pair, pipeline: Pipeline) -> None:
    """Nothing of that organization would be published, and its neighbour is told of as always."""
    tenant, neighbour = pair
    pipeline.live_in(tenant, "Mars/Olympus_Mons")
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)

    said = {each.organization_id: each.jobs for each in pipeline.dry_run(**RANGE)}

    mine, theirs = said[tenant.organization], said[neighbour.organization]
    assert (mine.would_fail, mine.cells) == ("UnknownTimeZone", 0)
    assert (theirs.would_fail, theirs.cells) == (None, 27)


def test_facts_that_wait_to_be_published_are_in_the_dry_run(pair: Pair, pipeline: Pipeline) -> None:
    """A run that was cut off between its halves left changes that the next one publishes."""
    tenant, neighbour = pair
    pipeline.plant_job(tenant)
    pipeline.extract_changes(Request())
    pipeline.plant_job(neighbour, workflow_id=neighbour.workflows[1])

    proposed = checked(pipeline)

    assert len(proposed) == 2


def test_lost_facts_are_not_made_anew_by_a_dry_run(pair: Pair, pipeline: Pipeline) -> None:
    """Everything would be read again, and only what is gone from the source would change."""
    tenant, _ = pair
    shutil.rmtree(pipeline.settings.facts_location)
    pipeline.source.execute(
        "DELETE FROM orchestration.jobs WHERE organization_id = %s AND completed_at >= %s",
        [tenant.organization, NOON + 7 * DAY],
    )

    proposed = checked(pipeline)

    assert [each.organization_id for each in proposed] == [tenant.organization]


def test_facts_of_an_earlier_day_are_not_disowned_by_a_dry_run(
    pair: Pair, pipeline: Pipeline, tmp_path: Path
) -> None:
    """A restored copy lacks what was published since; that is found, and not yet written down."""
    tenant, _ = pair
    shutil.copytree(pipeline.settings.facts_location, tmp_path / "copy")
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    shutil.rmtree(pipeline.settings.facts_location)
    shutil.copytree(tmp_path / "copy", pipeline.settings.facts_location)
    pipeline.delete_jobs(job)

    proposed = checked(pipeline)

    assert [each.organization_id for each in proposed] == [tenant.organization]


@pytest.mark.usefixtures("pair")
def test_another_definition_is_in_the_dry_run(pipeline: Pipeline) -> None:
    """Combinations that would come and go are told of everybody, and the definition gets no number yet."""
    other = pipeline.having(rollup_plan="hour=1 day=3 week=1 month=3")

    proposed = checked(other)

    assert len(proposed) == 2


def test_what_retention_removed_does_not_come_back_in_a_dry_run(pair: Pair, pipeline: Pipeline) -> None:
    """A late job of an hour that is kept no more changes the day and what is longer."""
    tenant, _ = pair
    pipeline.having(keep_hours=timedelta(days=30)).retain(now=NOON + 40 * DAY)
    pipeline.plant_job(tenant)

    proposed = checked(pipeline)

    assert [each.jobs.cells for each in proposed] == [23]


def checked(pipeline: Pipeline, **only: Any) -> tuple[OrganizationDryRun, ...]:
    """What a dry run says: it writes neither rows nor facts, and the reconcile then does just that."""
    before, rows = pipeline.cells(), everything(pipeline.analytics)
    has_facts = Path(pipeline.settings.facts_location).exists()
    proposed = pipeline.dry_run(**RANGE, **only)
    assert everything(pipeline.analytics) == rows
    assert Path(pipeline.settings.facts_location).exists() == has_facts
    pipeline.reconcile(**RANGE, **only)
    check(proposed, before, pipeline.cells())
    return proposed


def check(
    proposed: tuple[OrganizationDryRun, ...], before: Mapping[Key, Cell], after: Mapping[Key, Cell]
) -> None:
    """Compare what was proposed with what became of the cells."""
    changed = {
        key for key in before.keys() | after.keys() if figures(before.get(key)) != figures(after.get(key))
    }
    assert {each.organization_id: each.jobs.cells for each in proposed if each.jobs.cells} == Counter(
        key[0] for key in changed
    )
    for each in proposed:
        mine = [key for key in changed if key[0] == each.organization_id]
        assert len(each.jobs.largest) == min(5, len(mine))
        told = [key_of(change) for change in each.jobs.largest]
        assert set(told) <= set(mine)
        for key, change in zip(told, each.jobs.largest, strict=True):
            for side, held in ((change.old, before.get(key)), (change.new, after.get(key))):
                assert side == (held and {name: held[name] for name in JOBS.measure_columns})
        steps = [step(key, before, after) for key in told]
        assert steps == sorted((step(key, before, after) for key in mine), reverse=True)[: len(steps)]


def key_of(change: CellChange) -> Key:
    """The key of the cell that would change."""
    cell = {name: UUID(value) if name.endswith("_id") else value for name, value in change.cell.items()}
    return (
        change.organization_id,
        change.period,
        change.period_start,
        *(cell[name] for name in JOBS.dimension_columns),
    )


def step(key: Key, before: Mapping[Key, Cell], after: Mapping[Key, Cell]) -> int:
    """By how many jobs a cell changes."""
    old, new = ((side.get(key) or {"total_executions": 0})["total_executions"] for side in (before, after))
    return abs(new - old)


def everything(connection: Connection) -> dict[str, list[Any]]:
    """The versions of every row of both schemas: the source shares the database here."""
    tables = [table for metadata in METADATA.values() for table in metadata.tables.values()]
    return {
        str(table): connection.execute(
            f"SELECT xmin::text, ctid::text, to_jsonb(t) FROM {table} AS t ORDER BY ctid"
        ).fetchall()
        for table in tables
    }


def files(settings: Settings) -> dict[str, int]:
    """Every file below the home, and when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in settings.home.rglob("*") if path.is_file()}
