"""Histories that once ended wrong, or that a certain mistake would end wrong: told again, step by step."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest

from pipelines.fault_points import FaultPoint
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support.faults.runs import Killed, struck_at
from tests.support.histories.runs import portions_of
from tests.support.histories.world import PLANS, World
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, NOON, cells, change_job, plant_job, plant_tenant


@dataclass(frozen=True)
class Told:
    """A job of a tenant that was published beside a neighbour's, and what happens to it."""

    databases: Databases
    settings: Settings
    source: psycopg.Connection
    analytics: psycopg.Connection
    job: UUID

    def change(self) -> None:
        """Edit the job."""
        change_job(self.source, self.job, status="FAILED")

    def refresh(self) -> None:
        """Publish."""
        refresh(self.databases, self.settings)

    def refresh_by_another_definition(self) -> None:
        """Publish fewer cells."""
        fewer = self.settings.model_copy(update={"rollup_plan": World.plan(PLANS[1])})
        refresh(self.databases, fewer)

    def heals(self) -> bool:
        """Whether every cell is right after one more refresh."""
        self.refresh()
        return differences(cells(self.analytics), cells_by_sql(self.source)) == []


@pytest.fixture
def told(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> Told:
    """A history that begins with jobs in four months."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, *_ = (plant_job(source, tenant, completed_at=NOON + 31 * month * DAY) for month in range(4))
    plant_job(source, neighbour)
    refresh(databases, settings)
    return Told(databases, settings, source, analytics, job)


def test_what_is_committed_while_rows_are_read_is_read_next_time(told: Told) -> None:
    """A snapshot does not show it, so the horizon of that snapshot must lie before it."""
    change_job(told.source, told.job, initiator_type="API")

    with struck_at(0, told.change, only=FaultPoint.JOBS_READ) as passed:
        told.refresh()

    assert passed
    assert told.heals()


def test_what_was_read_and_not_written_is_read_again(told: Told) -> None:
    """A run that is killed just before it writes the facts has moved no watermark."""
    told.change()

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.BEFORE_FACTS_COMMIT):
        told.refresh()

    assert told.heals()


def test_cells_are_kept_only_with_what_goes_with_them(told: Told) -> None:
    """A run that is killed after it wrote cells, and before it wrote their version, leaves the old cells."""
    before = cells(told.analytics)
    told.change()

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.CELLS_UPSERTED):
        told.refresh()

    assert cells(told.analytics) == before
    assert told.heals()
    assert cells(told.analytics) != before


def test_a_definition_may_change_and_change_back_around_a_kill(told: Told) -> None:
    """Cells that only one of the definitions keeps were not kept up under the other."""
    told.change()

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.AFTER_COMMIT):
        told.refresh_by_another_definition()

    assert told.heals()


def test_a_rebuild_may_be_cut_off_and_called_off(told: Told) -> None:
    """Months that were rebuilt already are rebuilt back."""
    with pytest.raises(Killed), portions_of(1), struck_at(2, only=FaultPoint.REBUILD_SETTLED):
        told.refresh_by_another_definition()

    assert told.heals()
