"""Histories that once ended wrong, or that a certain mistake would end wrong: told again, step by step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support.histories.runs import Killed, portions_of
from tests.support.histories.world import PLANS, World
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, NOON, cells, change_job, plant_job, plant_tenant


@contextmanager
def at(which: FaultPoint, do: Callable[[], None], *, time: int = 1) -> Iterator[None]:
    """Do something when the run passes a place for the so-manyth time."""
    passed = 0

    def watcher(point: FaultPoint) -> None:
        nonlocal passed
        passed += point is which
        if point is which and passed == time:
            do()

    with watched_by(watcher):
        yield
    assert passed >= time


def kill() -> None:
    """End the run as if from outside."""
    raise Killed


def with_fewer_cells(settings: Settings) -> Settings:
    """Another definition of the metrics."""
    return settings.model_copy(update={"rollup_plan": World.plan(PLANS[1])})


def test_what_is_committed_while_rows_are_read_is_read_next_time(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A snapshot does not show it, so the horizon of that snapshot must lie before it."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    refresh(databases, settings)
    job = plant_job(source, tenant)

    with at(FaultPoint.JOBS_READ, lambda: change_job(source, job, status="FAILED")):
        refresh(databases, settings)
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_what_was_read_and_not_written_is_read_again(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A run that is killed just before it writes the facts has moved no cursor."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    change_job(source, job, status="FAILED")

    with suppress(Killed), at(FaultPoint.BEFORE_FACTS_COMMIT, kill):
        refresh(databases, settings)
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_cells_are_kept_only_with_what_goes_with_them(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A run that is killed after it wrote cells, and before it wrote their version, leaves the old cells."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    before = cells(analytics)
    change_job(source, job, status="FAILED")

    with suppress(Killed), at(FaultPoint.CELLS_UPSERTED, kill):
        refresh(databases, settings)
    after_kill = cells(analytics)
    refresh(databases, settings)

    assert after_kill == before
    assert cells(analytics) != before
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_definition_may_change_and_change_back_around_a_kill(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Cells that only one of the definitions keeps were not kept up under the other."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    change_job(source, job, status="FAILED")

    with suppress(Killed), at(FaultPoint.AFTER_COMMIT, kill):
        refresh(databases, with_fewer_cells(settings))
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_rebuild_may_be_cut_off_and_called_off(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Months that were rebuilt already are rebuilt back."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    for month in range(4):
        plant_job(source, tenant, completed_at=NOON + 31 * month * DAY)
    plant_job(source, neighbour)
    refresh(databases, settings)

    with suppress(Killed), portions_of(1), at(FaultPoint.REBUILD_SETTLED, kill, time=3):
        refresh(databases, with_fewer_cells(settings))
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
