"""What a tenant may ask of its steps: one query, its own rows, exact or estimated within a stated error."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pipelines.errors import InvalidRange, RangeNotStored, WorkflowNotVisible
from pipelines.query.metrics import StepAnalyticsRepository
from pipelines.query.records import RangeFigures
from pipelines.query.tenant import admit, reading_as
from tests.postgres.steps.conftest import StepPipeline
from tests.support.planting import DAY, HOUR, NOON, new_id

pytestmark = pytest.mark.every_postgres

JANUARY, FEBRUARY, MARCH = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3))


@pytest.fixture
def measured(pipeline: StepPipeline) -> StepPipeline:
    """A tenant with 100 sends of 1 to 100 ms in January, one of a second in February, and an opening."""
    first, second = pipeline.tenant.workflows
    sends = [{"step_name": "send", "duration_ms": ms, "timestamp": NOON - ms * HOUR} for ms in range(1, 101)]
    pipeline.plant_lines(*sends, workflow_id=first)
    late = {"step_name": "send", "duration_ms": 1000, "timestamp": NOON + 3 * DAY, "level": "ERROR"}
    pipeline.plant_lines(late, {"step_name": "open", "level": "WARN"}, workflow_id=second)
    pipeline.refresh()
    return pipeline


@pytest.fixture
def steps(measured: StepPipeline) -> Iterator[StepAnalyticsRepository]:
    """What the tenant asks."""
    tenant = admit(measured.tenant.organization)
    with reading_as(measured.databases.analytics_url, measured.settings, tenant) as connection:
        yield StepAnalyticsRepository(connection, tenant)


def test_one_bucket_is_exact(steps: StepAnalyticsRepository) -> None:
    """A whole month has its percentiles itself; the steps that took longest together come first."""
    send, opened = steps.get_step_duration_stats(since=JANUARY, until=FEBRUARY)

    assert (send.which, opened.which) == ("send", "open")
    counts = [send[f"{name}_executions"] for name in ("total", "timed", "failed")]
    figures = [send[f"{name}_duration_ms"] for name in ("average", "min", "max", "median", "p90")]
    assert counts == [100, 100, 0]
    assert figures == [50.5, 1, 100, 50.5, pytest.approx(90.1, rel=1e-12)]
    assert (send.estimated, send.relative_error) == (False, 0)
    counts = (opened["warned_executions"], opened["timed_executions"])
    assert (*counts, opened["average_duration_ms"]) == (1, 0, None)


def test_several_buckets_are_added_up(steps: StepAnalyticsRepository) -> None:
    """Counts and means of two months are exact, percentiles are within the error they state."""
    send, _ = steps.get_step_duration_stats(since=JANUARY, until=MARCH)

    assert (send["total_executions"], send["failed_executions"], send["max_duration_ms"]) == (101, 1, 1000)
    assert send["average_duration_ms"] == pytest.approx((5050 + 1000) / 101)
    assert send.estimated
    assert send["median_duration_ms"] == pytest.approx(51, rel=send.relative_error)


def test_one_workflow_is_asked_for(steps: StepAnalyticsRepository, measured: StepPipeline) -> None:
    """Steps of the same name in another workflow are left out."""
    (send, opened) = steps.get_step_duration_stats(measured.tenant.workflows[1], since=JANUARY, until=MARCH)

    assert (send.which, send["total_executions"], opened.which) == ("send", 1, "open")
    assert steps.get_step_duration_stats(measured.tenant.workflows[0], since=FEBRUARY, until=MARCH) == ()


def test_nobody_elses_workflow_is_visible(steps: StepAnalyticsRepository, measured: StepPipeline) -> None:
    """A neighbour's workflow is refused like one that never was; so are ranges backwards and of minutes."""
    for workflow in (measured.neighbour.workflows[0], new_id()):
        with pytest.raises(WorkflowNotVisible):
            steps.get_step_duration_stats(workflow, since=JANUARY, until=FEBRUARY)
    with pytest.raises(InvalidRange):
        steps.get_step_duration_stats(since=FEBRUARY, until=JANUARY)
    with pytest.raises(RangeNotStored):
        steps.get_step_duration_stats(since=NOON, until=NOON + HOUR / 2)


def test_days_add_up_to_their_month(steps: StepAnalyticsRepository) -> None:
    """Each step's counts over the days of a month are those of the month."""
    days = [JANUARY + number * DAY for number in range(32)]
    daily: dict[str, int] = {}
    for since, until in pairwise(days):
        for stats in steps.get_step_duration_stats(since=since, until=until):
            daily[stats.which] = daily.get(stats.which, 0) + stats["total_executions"]

    monthly = steps.get_step_duration_stats(since=JANUARY, until=FEBRUARY)

    assert daily == {stats.which: stats["total_executions"] for stats in monthly}
    assert all(isinstance(stats, RangeFigures) for stats in monthly)
