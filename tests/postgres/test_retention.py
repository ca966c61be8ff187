"""What the retention settings let go of is gone for good, and nobody misses it."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection

from pipelines.runs.maintenance import RetentionReport
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import Outcome
from pipelines.subjects.steps import STEPS
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, HOUR, NOON, Cell, Key, Tenant, change_job, new_id, plant_job
from tests.support.restatement_oracle import restated

# Thirty days before this is in the afternoon of NOON's day, whose hours are then the oldest that are kept.
NOW = NOON + 30 * DAY + 4 * HOUR
MIDNIGHT = NOON.replace(hour=0)

Keeping = Callable[..., Pipeline]


@pytest.fixture
def keeping(pipeline: Pipeline) -> Keeping:
    """A function that gives a pipeline which keeps for ever all but what it is told of."""

    def with_limits(**days: int) -> Pipeline:
        limits = {f"keep_{name}": timedelta(days=count) for name, count in days.items()}
        off = dict.fromkeys(("keep_hours", "keep_restatements", "keep_outcomes"))
        return pipeline.having(**off | limits)

    return with_limits


@pytest.fixture
def pair(pipeline: Pipeline) -> Pair:
    """Two refreshed organizations with jobs around the midnight from which on hours are kept."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    moments = [NOON - 40 * DAY, MIDNIGHT - timedelta(microseconds=1), MIDNIGHT, NOON, NOON + 9 * DAY]
    for tenant in tenants:
        pipeline.plant_jobs(tenant, [{"completed_at": moment} for moment in moments])
    pipeline.refresh()
    return tenants


def test_hourly_cells_go_by_whole_days(pair: Pair, pipeline: Pipeline, keeping: Keeping) -> None:
    """Those of the day that is kept in part all stay, and so does whatever is longer than an hour."""
    before = pipeline.row_versions()
    gone = {key for key in before if key[1] == "hour" and key[2] < MIDNIGHT}

    report = keeping(hours=30).retain(now=NOW)
    again = keeping(hours=30).retain(now=NOW)

    assert {key[0] for key in gone} == {tenant.organization for tenant in pair}
    assert report == RetentionReport(len(gone), 0, 0)
    assert again == RetentionReport(0, 0, 0)
    assert pipeline.row_versions() == {key: row for key, row in before.items() if key not in gone}


@pytest.mark.usefixtures("pair")
def test_without_limits_nothing_goes(pipeline: Pipeline, keeping: Keeping) -> None:
    """Settings that are off remove nothing, however old it is."""
    before = pipeline.row_versions()

    report = keeping().retain(now=NOW + 9_999 * DAY)

    assert report == RetentionReport(0, 0, 0)
    assert pipeline.row_versions() == before


def test_by_default_hours_are_kept_for_ever(settings: Settings) -> None:
    """Without a setting no figure is lost; only records of changes and runs have an end."""
    assert settings.keep_hours is None
    assert (settings.keep_restatements, settings.keep_outcomes) == (730 * DAY, 30 * DAY)


RANGE = {"since": NOON - 99 * DAY, "until": NOON + 99 * DAY}
OTHER = {"rollup_plan": "hour=2 day=2 week=3 month=3"}
WAYS: dict[str, Callable[[Pipeline], Any]] = {
    "refresh": lambda pipeline: pipeline.refresh(),
    "reconcile": lambda pipeline: pipeline.reconcile(**RANGE),
    "checksums of everything": lambda pipeline: pipeline.reconcile_created(),
    "rebuild of a new definition": lambda pipeline: pipeline.having(**OTHER).rebuild(),
    "refresh with a new definition": lambda pipeline: pipeline.having(**OTHER).refresh(),
    "facts lost": lambda pipeline: (shutil.rmtree(pipeline.settings.facts_location), pipeline.refresh()),
    "audit": lambda pipeline: pipeline.audit(),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_removed_is_not_written_again(
    pair: Pair, pipeline: Pipeline, keeping: Keeping, way: str
) -> None:
    """Whatever computes cells anew leaves hours alone that are gone, and verify does not miss them."""
    keeping(hours=30).retain(now=NOW)
    removed = pipeline.verify()

    WAYS[way](pipeline)
    late(pipeline.source, pair)
    pipeline.refresh()

    stored = pipeline.cells()
    assert (removed.differences, removed.cells_pending) == ((), 0)
    assert pipeline.verify().differences == ()
    assert {key for key in stored if key[1] == "hour" and key[2] < MIDNIGHT} == set()
    assert differences(stored, kept(cells_by_sql(pipeline.source))) == []


def test_a_late_job_of_a_removed_hour_counts_in_its_day(
    pair: Pair, pipeline: Pipeline, keeping: Keeping
) -> None:
    """The day and what is longer are restated; the hour is not, for nobody ever saw it again."""
    keeping(hours=30).retain(now=NOW)
    late(pipeline.source, pair)

    pipeline.refresh()

    found = restated(pipeline.analytics)
    assert {key[0] for key in found} == {tenant.organization for tenant in pair}
    assert {key[1] for key in found if key[2] < MIDNIGHT - DAY} == {"day", "week", "month"}
    assert {key[1:3] for key in found if key[1] == "hour"} == {("hour", NOON)}


@pytest.mark.usefixtures("pair")
def test_a_longer_retention_brings_nothing_back(pipeline: Pipeline, keeping: Keeping) -> None:
    """What is gone is gone, also for an organization that is published for the first time afterwards."""
    keeping(hours=30).retain(now=NOW)
    keeping(hours=300).retain(now=NOW)
    newcomer = pipeline.plant_tenant("Newcomer")
    pipeline.plant_jobs(newcomer, [{}, {"completed_at": MIDNIGHT - HOUR}])

    pipeline.refresh()

    assert pipeline.verify().differences == ()
    assert {key[2] for key in pipeline.cells(newcomer.organization) if key[1] == "hour"} == {NOON}
    assert differences(pipeline.cells(), kept(cells_by_sql(pipeline.source))) == []


def test_old_restatements_go(pair: Pair, pipeline: Pipeline, keeping: Keeping) -> None:
    """Those written before the limit, of every organization; younger ones and all figures stay."""
    for _ in range(2):
        late(pipeline.source, pair)
        pipeline.refresh()
    before, figures = restated(pipeline.analytics), pipeline.row_versions()
    ((limit,),) = pipeline.select("SELECT max(restated_at) FROM analytics.restatements")

    report = keeping(restatements=100).retain(now=limit + 100 * DAY)

    assert report == RetentionReport(0, len(before), 0)
    assert restated(pipeline.analytics) == {key: rows[1:] for key, rows in before.items()}
    assert {key[0] for key in before} == {tenant.organization for tenant in pair}
    assert pipeline.row_versions() == figures


def test_the_newest_outcome_of_each_organization_stays(pipeline: Pipeline, keeping: Keeping) -> None:
    """However old it is, it says how the organization stands: that of its steps, and a failed one, too.

    One that was never published and was tried for long no more is gone from the source.
    """
    tenant, neighbour, third = (pipeline.plant_tenant().organization for _ in range(3))
    pipeline.refresh()
    pipeline.analytics.execute("TRUNCATE analytics.refresh_outcomes")
    unknown = new_id()
    planted = [
        (tenant, NOON - 3 * DAY, None),
        (tenant, NOON - 2 * DAY, "ValueError"),
        (tenant, NOON - DAY, None),
        (neighbour, NOON - 9 * DAY, None),
        (neighbour, NOON - 8 * DAY, "ValueError"),
        (third, NOON - 8 * DAY, "ValueError"),
        (third, NOON + DAY, None),
        (third, NOON + 2 * DAY, None),
        (unknown, NOON - DAY, "ValueError"),
        (tenant, NOON - 5 * DAY, "KeyError"),
    ]
    for organization, finished_at, error_class in planted:
        outcome = Outcome.FAILED if error_class else Outcome.PUBLISHED
        subject = STEPS.name if error_class == "KeyError" else JOBS.name
        pipeline.analytics.execute(
            "INSERT INTO analytics.refresh_outcomes VALUES (%s, %s, %s, %s, %s, 1, %s)",
            [new_id(), organization, outcome, error_class, finished_at, subject],
        )

    report = keeping(outcomes=7).retain(now=NOON + 7 * DAY)

    stored = pipeline.select(
        "SELECT organization_id, finished_at, error_class FROM analytics.refresh_outcomes ORDER BY 1, 2"
    )
    assert stored == [planted[9], planted[2], planted[4], planted[6], planted[7]]
    assert report == RetentionReport(0, 0, 5)


def test_the_limits_are_counted_from_now(pair: Pair, pipeline: Pipeline, keeping: Keeping) -> None:
    """Without a moment it is the present one, in whole days of UTC."""
    age = (datetime.now(UTC) - MIDNIGHT).days

    keeping(hours=age).retain(now=None)

    hours = {key[2] for key in pipeline.cells(pair[0].organization) if key[1] == "hour"}
    assert hours == {MIDNIGHT, NOON, NOON + 9 * DAY}


def late(source: Connection, tenants: tuple[Tenant, ...]) -> None:
    """Plant a job of long ago and one of NOON for each, and change one that is there."""
    for tenant in tenants:
        plant_job(source, tenant, completed_at=NOON - 40 * DAY)
        change_job(source, plant_job(source, tenant), status="FAILED")


def kept(expected: Any) -> dict[Key, Cell]:
    """Without the hours that were removed."""
    return {key: cell for key, cell in expected.items() if key[1] != "hour" or key[2] >= MIDNIGHT}
