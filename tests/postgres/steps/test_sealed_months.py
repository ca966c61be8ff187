"""The metrics of steps outlive their lines: a dropped month is sealed, and goes only when it is published."""

import shutil
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pipelines.facts.folder import set_aside
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.log_retention import keep_logs, why_unpublished
from pipelines.runs.maintenance import tidy_facts
from pipelines.runs.refresh import reconcile, reconcile_created, refresh
from pipelines.runs.status import status
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.postgres.steps.conftest import step_cells
from tests.support.planting import DAY, HOUR, NOON, Tenant, plant_job, plant_lines

pytestmark = [pytest.mark.every_postgres, pytest.mark.usefixtures("neighbour")]

JANUARY, FEBRUARY = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture
def month(source: psycopg.Connection, tenant: Tenant) -> Tenant:
    """A tenant with steps in two months, not yet measured."""
    job = plant_job(source, tenant)
    plant_lines(
        source,
        tenant,
        job,
        [{"step_name": "send", "timestamp": NOON + day * DAY, "duration_ms": 7} for day in range(-20, 10)],
    )
    return tenant


def test_a_month_may_go_once_it_is_published(
    databases: Databases, settings: Settings, source: psycopg.Connection, month: Tenant
) -> None:
    """As long as an organization was never published, or a late line was not, there is a reason not to."""
    refresh(databases, settings, organization_ids=[month.organization])
    never = why_unpublished(Run(databases, settings), JANUARY, FEBRUARY)
    refresh(databases, settings)
    published = why_unpublished(Run(databases, settings), JANUARY, FEBRUARY)
    plant_lines(source, month, plant_job(source, month), [{"step_name": "late", "timestamp": JANUARY + HOUR}])
    late = why_unpublished(Run(databases, settings), JANUARY, FEBRUARY)
    refresh(databases, settings)
    again = why_unpublished(Run(databases, settings), JANUARY, FEBRUARY)

    assert (published, again) == (None, None)
    assert never == "days of organizations that are not as the last refresh read them: 1"
    assert late == "days of organizations that are not as the last refresh read them: 1"


def test_retention_waits_for_the_metrics_and_seals_them(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    month: Tenant,
) -> None:
    """A month whose steps are not published is held back; after the refresh it goes, and its cells stay."""
    impatient = settings.model_copy(update={"keep_logs": 10 * DAY})
    later = FEBRUARY + 11 * DAY
    refresh(databases, settings, organization_ids=[month.organization])

    held = keep_logs(databases, impatient, now=later)
    refresh(databases, settings)
    before = step_cells(analytics, month.organization)
    gone = keep_logs(databases, impatient, now=later)
    refresh(databases, settings)

    assert held.months_dropped == ()
    assert list(held.months_held_back) == ["2024-01"]
    assert gone.months_dropped == ("2024-01",)
    assert source.execute(
        "SELECT count(*) FROM orchestration.execution_logs WHERE timestamp < %s", [FEBRUARY]
    ).fetchone() == (0,)
    assert step_cells(analytics, month.organization) == before
    assert verify(databases, settings).steps.differences == ()


def test_a_dropped_month_is_sealed(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    month: Tenant,
) -> None:
    """Its cells stay, whatever runs and even when the facts are read anew; verify calls them sealed."""
    refresh(databases, settings)
    before = step_cells(analytics, month.organization)
    drop_january(source)

    runs = [
        refresh(databases, settings),
        reconcile(databases, settings, since=JANUARY - 60 * DAY, until=FEBRUARY + 60 * DAY),
        reconcile_created(databases, settings, accept_deletes=True),
    ]
    kept = step_cells(analytics, month.organization)
    sealed = verify(databases, settings).steps
    shutil.rmtree(settings.step_facts_location)
    refresh(databases, settings)

    assert [report.steps.cells_deleted for report in runs] == [0, 0, 0]
    assert kept == before
    assert (sealed.differences, sealed.cells_pending) == ((), 0)
    assert sealed.cells_sealed > 0
    assert step_cells(analytics, month.organization) == before
    assert verify(databases, settings).steps.differences == ()


@pytest.mark.usefixtures("month")
def test_facts_with_dropped_months_are_never_removed(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Set aside, they are named until somebody removes them; without such a month they go after a while."""
    impatient = settings.model_copy(update={"feed_retention": timedelta(milliseconds=1)})
    refresh(databases, settings)

    set_aside(settings.step_facts_location)
    refresh(databases, settings)
    tidy_facts(databases, impatient)
    before = status(databases, settings).set_aside
    drop_january(source)
    aside = set_aside(settings.step_facts_location)
    refresh(databases, settings)
    tidy_facts(databases, impatient)

    assert before == ()
    assert status(databases, settings).set_aside == (str(aside),)


def test_what_comes_late_into_a_sealed_month_is_added(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    month: Tenant,
) -> None:
    """A line of a dropped month that is written afterwards counts beside those that are gone."""
    refresh(databases, settings)
    drop_january(source)
    plant_lines(source, month, plant_job(source, month), [{"step_name": "send", "timestamp": NOON - DAY}])

    refresh(databases, settings)

    counts = {
        start: row["total_executions"]
        for (period, start, workflow, _), row in step_cells(analytics, month.organization).items()
        if period == "month" and workflow.int == 0
    }
    assert counts == {JANUARY: 22, FEBRUARY: 9}


def test_lines_that_vanish_otherwise_leave_the_metrics(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    month: Tenant,
) -> None:
    """A reconcile finds hard deletes by checksums, for nobody said that the month was dropped."""
    refresh(databases, settings)
    source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp < %s", [FEBRUARY])
    unseen = refresh(databases, settings)

    reconcile(databases, settings, since=JANUARY, until=FEBRUARY)

    assert unseen.steps.cells_deleted == 0
    months = {start for period, start, *_ in step_cells(analytics, month.organization) if period == "month"}
    assert months == {FEBRUARY}
    assert verify(databases, settings).steps.differences == ()


def drop_january(source: psycopg.Connection) -> None:
    """Do what retention does to the first month."""
    with source.transaction():
        source.execute("DELETE FROM orchestration.execution_logs WHERE timestamp < %s", [FEBRUARY])
        source.execute(
            "INSERT INTO orchestration.execution_log_months (month_start, month_end, dropped_at)"
            " VALUES (%s, %s, now())",
            [JANUARY, FEBRUARY],
        )
