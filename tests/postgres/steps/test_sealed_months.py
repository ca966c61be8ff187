"""The metrics of steps outlive their lines: a dropped month is sealed, and goes only when it is published."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.facts.folder import set_aside
from pipelines.postgres.connections import Run
from pipelines.runs.log_retention import keep_logs, why_unpublished
from tests.postgres.steps.conftest import StepPipeline
from tests.support.planting import DAY, HOUR, NOON

pytestmark = pytest.mark.every_postgres

JANUARY, FEBRUARY = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture
def month(pipeline: StepPipeline) -> StepPipeline:
    """A tenant with steps in two months, not yet measured."""
    days = (NOON + day * DAY for day in range(-20, 10))
    pipeline.plant_lines(*({"step_name": "send", "timestamp": day, "duration_ms": 7} for day in days))
    return pipeline


def test_a_month_may_go_once_it_is_published(month: StepPipeline) -> None:
    """As long as an organization was never published, or a late line was not, there is a reason not to."""
    month.refresh(organization_ids=[month.tenant.organization])
    never = unpublished(month)
    month.refresh()
    published = unpublished(month)
    month.plant_lines({"step_name": "late", "timestamp": JANUARY + HOUR})
    late = unpublished(month)
    month.refresh()

    assert (published, unpublished(month)) == (None, None)
    assert never == late == "days of organizations that are not as the last refresh read them: 1"


def unpublished(month: StepPipeline) -> str | None:
    """Why January may not go yet."""
    return why_unpublished(month.run, JANUARY, FEBRUARY)


def test_retention_waits_for_the_metrics_and_seals_them(month: StepPipeline) -> None:
    """A month whose steps are not published is held back; after the refresh it goes, and its cells stay."""
    impatient = month.settings.model_copy(update={"keep_logs": 10 * DAY})
    later = FEBRUARY + 11 * DAY
    month.refresh(organization_ids=[month.tenant.organization])

    held = keep_logs(Run(month.databases, impatient), now=later)
    month.refresh()
    before = month.step_cells()
    gone = keep_logs(Run(month.databases, impatient), now=later)
    month.refresh()

    assert (held.months_dropped, list(held.months_held_back)) == ((), ["2024-01"])
    assert gone.months_dropped == ("2024-01",)
    left = month.source.execute("SELECT min(timestamp) FROM orchestration.execution_logs").fetchone()
    assert left >= (FEBRUARY,)
    assert month.step_cells() == before
    assert month.verify().steps.differences == ()


def test_a_dropped_month_is_sealed(month: StepPipeline) -> None:
    """Its cells stay, whatever runs and even when the facts are read anew; verify calls them sealed."""
    month.refresh()
    before = month.step_cells()
    drop_january(month)

    wide = {"since": JANUARY - 60 * DAY, "until": FEBRUARY + 60 * DAY}
    runs = month.refresh(), month.reconcile(**wide), month.reconcile_created(accept_deletes=True)
    kept = month.step_cells()
    sealed = month.verify().steps
    shutil.rmtree(month.settings.step_facts_location)
    month.refresh()

    assert [report.steps.cells_deleted for report in runs] == [0, 0, 0]
    assert kept == before
    assert (sealed.differences, sealed.cells_pending, sealed.cells_sealed > 0) == ((), 0, True)
    assert month.step_cells() == before
    assert month.verify().steps.differences == ()


def test_facts_with_dropped_months_are_never_removed(month: StepPipeline) -> None:
    """Set aside, they are named until somebody removes them; without such a month they go after a while."""
    impatient = month.having(feed_retention=timedelta(milliseconds=1))
    month.refresh()

    set_aside(month.settings.step_facts_location)
    month.refresh()
    impatient.tidy_facts()
    before = month.status().set_aside
    drop_january(month)
    aside = set_aside(month.settings.step_facts_location)
    month.refresh()
    impatient.tidy_facts()

    assert before == ()
    assert month.status().set_aside == (str(aside),)


def test_what_comes_late_into_a_sealed_month_is_added(month: StepPipeline) -> None:
    """A line of a dropped month that is written afterwards counts beside those that are gone."""
    month.refresh()
    drop_january(month)
    month.plant_lines({"step_name": "send", "timestamp": NOON - DAY})

    month.refresh()

    counts = {row["period_start"]: row["total_executions"] for row in month.months("send")}
    assert counts == {JANUARY: 22, FEBRUARY: 9}


def test_lines_that_vanish_otherwise_leave_the_metrics(month: StepPipeline) -> None:
    """Hard deletes are found by the checksums of a reconcile, for nobody said that the month was dropped."""
    month.refresh()
    month.source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp < %s", [FEBRUARY])
    unseen = month.refresh()

    month.reconcile(since=JANUARY, until=FEBRUARY)

    assert unseen.steps.cells_deleted == 0
    assert [row["period_start"] for row in month.months("send")] == [FEBRUARY]
    assert month.verify().steps.differences == ()


def drop_january(month: StepPipeline) -> None:
    """Do what retention does to the first month."""
    with month.source.transaction():
        month.source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp < %s", [FEBRUARY])
        dropped = "orchestration.execution_log_months (month_start, month_end, dropped_at)"
        month.source.execute(f"INSERT INTO {dropped} VALUES (%s, %s, now())", [JANUARY, FEBRUARY])
