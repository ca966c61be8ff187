"""Histories that once ended wrong, or that a certain mistake would end wrong: told again, step by step."""

from uuid import UUID

import pytest

from pipelines.fault_points import FaultPoint
from tests.support.faults.runs import Killed, struck_at
from tests.support.histories.runs import portions_of
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON

FEWER_CELLS = "hour=0 day=1 week=1 month=1"


@pytest.fixture
def job(pipeline: Pipeline) -> UUID:
    """A job of a tenant with jobs in four months, published beside a neighbour's."""
    tenant = pipeline.plant_beside_a_neighbour()
    job, *_ = (pipeline.plant_job(tenant, completed_at=NOON + 31 * month * DAY) for month in range(4))
    pipeline.refresh()
    return job


def heals(pipeline: Pipeline) -> bool:
    """Whether every cell is right after one more refresh."""
    pipeline.refresh()
    return pipeline.differences() == []


def test_what_is_committed_while_rows_are_read_is_read_next_time(pipeline: Pipeline, job: UUID) -> None:
    """A snapshot does not show it, so the horizon of that snapshot must lie before it."""
    pipeline.change_job(job, initiator_type="API")

    def fail() -> None:
        pipeline.change_job(job, status="FAILED")

    with struck_at(0, fail, only=FaultPoint.JOBS_READ) as passed:
        pipeline.refresh()

    assert passed
    assert heals(pipeline)


def test_what_was_read_and_not_written_is_read_again(pipeline: Pipeline, job: UUID) -> None:
    """A run that is killed just before it writes the facts has moved no watermark."""
    pipeline.change_job(job, status="FAILED")

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.BEFORE_FACTS_COMMIT):
        pipeline.refresh()

    assert heals(pipeline)


def test_cells_are_kept_only_with_what_goes_with_them(pipeline: Pipeline, job: UUID) -> None:
    """A run that is killed after it wrote cells, and before it wrote their version, leaves the old cells."""
    before = pipeline.cells()
    pipeline.change_job(job, status="FAILED")

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.CELLS_UPSERTED):
        pipeline.refresh()

    assert pipeline.cells() == before
    assert heals(pipeline)
    assert pipeline.cells() != before


def test_a_definition_may_change_and_change_back_around_a_kill(pipeline: Pipeline, job: UUID) -> None:
    """Cells that only one of the definitions keeps were not kept up under the other."""
    pipeline.change_job(job, status="FAILED")

    with pytest.raises(Killed), struck_at(0, only=FaultPoint.AFTER_COMMIT):
        pipeline.having(rollup_plan=FEWER_CELLS).refresh()

    assert heals(pipeline)


@pytest.mark.usefixtures("job")
def test_a_rebuild_may_be_cut_off_and_called_off(pipeline: Pipeline) -> None:
    """Months that were rebuilt already are rebuilt back."""
    with pytest.raises(Killed), portions_of(1), struck_at(2, only=FaultPoint.REBUILD_SETTLED):
        pipeline.having(rollup_plan=FEWER_CELLS).refresh()

    assert heals(pipeline)
