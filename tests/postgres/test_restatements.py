"""A figure that changes after its period was over is kept beside the new one, with the reason."""

from datetime import timedelta
from typing import Any

import pytest

from pipelines.settings import Tier
from pipelines.subjects.reasons import Restated as Reasons
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Cell, Key, Tenant
from tests.support.restatement_oracle import Restated, changes, complete_through, restated

TIMES = ("created_at", "started_at", "completed_at")

# What is done to a job that counts, and why its cells are other ones afterwards.
EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "workflow": ({"workflow_id": 1}, "edited"),
    "client": ({"client_id": 1}, "edited"),
    "no client": ({"client_id": None}, "edited"),
    "initiator": ({"initiator_type": "SCHEDULE"}, "edited"),
    "duration": ({"started_at": NOON - 9 * MINUTE}, "edited"),
    "outcome": ({"status": "FAILED"}, "edited"),
    "moved to another day": ({"completed_at": NOON - 20 * HOUR, "started_at": NOON - 21 * HOUR}, "edited"),
    "its day of creation, and to another week": (
        dict(zip(TIMES, (NOON - 9 * DAY, NOON - 8 * DAY - HOUR, NOON - 8 * DAY), strict=True)),
        "edited",
    ),
    "retried in one step": (
        {"started_at": NOON + HOUR, "completed_at": NOON + 2 * HOUR, "status": "FAILED"},
        "retried",
    ),
    "an anomaly": ({"completed_at": NOON + 36_500 * DAY}, "edited"),
    "soft-deleted": ({"deleted_at": NOON + DAY}, "deleted"),
    "running again": ({"status": "RUNNING", "completed_at": None}, "retried"),
}


@pytest.fixture
def pair(pipeline: Pipeline) -> Pair:
    """Two organizations with some jobs each, the second one a neighbour that must never be restated."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for tenant in tenants:
        pipeline.plant_jobs(tenant, [{"completed_at": NOON + hour * HOUR} for hour in (0, 1, 30, 200)])
    return tenants


def test_what_becomes_of_a_job_restates_its_cells(pair: Pair, pipeline: Pipeline) -> None:
    """Each cell that it left or entered is on record once, as it was and as it is; nobody else's is."""
    _, neighbour = pair
    edited = {edit: pipeline.plant_tenant(edit) for edit in EDITS}
    others = [{"completed_at": NOON + hour * HOUR} for hour in (0, 1, 30, 200)]
    jobs = {edit: pipeline.plant_jobs(tenant, [{}, *others])[0] for edit, tenant in edited.items()}
    pipeline.refresh()
    before = pipeline.cells()
    first = restated(pipeline.analytics)
    for edit, tenant in edited.items():
        pipeline.change_job(jobs[edit], **with_ids(EDITS[edit][0], tenant))

    report = pipeline.refresh()

    after, owners = pipeline.cells(), {tenant.organization: edit for edit, tenant in edited.items()}
    expected = {
        edit: changes(of(before, tenant), of(after, tenant), EDITS[edit][1])
        for edit, tenant in edited.items()
    }
    found: dict[str, dict[Key, list[Restated]]] = {edit: {} for edit in EDITS}
    for key, rows in restated(pipeline.analytics).items():
        found[owners[key[0]]][key] = rows
    assert first == {}
    assert neighbour.organization in {key[0] for key in after}
    assert all(len(each) > 20 for each in expected.values())
    assert found == expected
    assert report.cells_restated == sum(map(len, expected.values()))
    assert pipeline.refresh().cells_restated == 0
    assert len(restated(pipeline.analytics)) == report.cells_restated


def test_a_late_job_restates_the_cells_it_enters(pair: Pair, pipeline: Pipeline) -> None:
    """Cells that nobody had published for that hour are on record too: there was none before."""
    tenant, _ = pair
    pipeline.refresh()
    before = pipeline.cells()
    pipeline.plant_job(tenant, completed_at=NOON + 5 * HOUR)

    pipeline.refresh()

    expected = changes(before, pipeline.cells(), "late")
    assert {key[0] for key in expected} == {tenant.organization}
    assert {key[1] for key in expected if expected[key][0].old is None} == {"hour"}
    assert restated(pipeline.analytics) == expected


def test_a_retry_in_two_steps_is_restated_twice(pair: Pair, pipeline: Pipeline) -> None:
    """Both when the old outcome leaves its cell and when the new one enters another."""
    tenant, _ = pair
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    seen = [pipeline.cells()]
    pipeline.change_job(job, status="RUNNING", completed_at=None)
    pipeline.refresh()
    seen.append(pipeline.cells())
    pipeline.change_job(job, status="FAILED", completed_at=NOON + 3 * HOUR, started_at=NOON + 2 * HOUR)

    pipeline.refresh()

    seen.append(pipeline.cells())
    left, entered = changes(seen[0], seen[1], "retried"), changes(seen[1], seen[2], "retried")
    expected = {key: left.get(key, []) + entered.get(key, []) for key in left.keys() | entered.keys()}
    assert any(len(both) == 2 for both in expected.values())
    assert restated(pipeline.analytics) == expected


def test_an_undeleted_job_was_edited(pair: Pair, pipeline: Pipeline) -> None:
    """It is no late one: it had been counted before."""
    tenant, _ = pair
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.change_job(job, deleted_at=NOON)
    pipeline.refresh()
    before, deleted = pipeline.cells(), restated(pipeline.analytics)
    pipeline.change_job(job, deleted_at=None)

    pipeline.refresh()

    expected = changes(before, pipeline.cells(), "edited")
    assert {
        key: rows[len(deleted.get(key, [])) :] for key, rows in restated(pipeline.analytics).items()
    } == expected


def test_what_a_checksum_comparison_found_is_a_backfill(pair: Pair, pipeline: Pipeline) -> None:
    """A row that is gone from the source says no more why, only that somebody looked."""
    pipeline = pipeline.having(extraction=Tier.INDEXED)
    tenant, _ = pair
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    before = pipeline.cells()
    pipeline.delete_jobs(job)
    pipeline.refresh()
    unseen = restated(pipeline.analytics)

    pipeline.reconcile_created()

    expected = changes(before, pipeline.cells(), "backfill")
    assert unseen == {}
    assert expected
    assert restated(pipeline.analytics) == expected
    pipeline.reconcile_created()
    assert restated(pipeline.analytics) == expected


def test_another_time_zone_restates_days_and_longer(pair: Pair, pipeline: Pipeline) -> None:
    """Old days go and new ones come, all of them on record; hours are UTC and stay."""
    tenant, _ = pair
    pipeline.refresh()
    before = pipeline.cells()
    pipeline.live_in(tenant, "America/New_York")

    pipeline.refresh()

    expected = changes(before, pipeline.cells(), "time_zone")
    assert {key[1] for key in expected} == {"day", "week", "month"}
    assert {rows[0].old is None for rows in expected.values()} == {True, False}
    assert {rows[0].new is None for rows in expected.values()} == {True, False}
    assert restated(pipeline.analytics) == expected
    pipeline.refresh()
    assert restated(pipeline.analytics) == expected


def test_another_definition_restates_what_differs(pair: Pair, pipeline: Pipeline) -> None:
    """Combinations that are stored no longer, or only now, are on record; the others did not change."""
    pipeline.refresh()
    before = pipeline.cells()
    other = pipeline.having(rollup_plan="hour=1 day=3 week=1 month=3")

    other.refresh()

    expected = changes(before, pipeline.cells(), "definition")
    assert {(key[0], key[1]) for key in expected} == {
        (tenant.organization, period) for tenant in pair for period in ("day", "week")
    }
    assert restated(pipeline.analytics) == expected


def test_figures_that_somebody_else_wrote_drifted(pair: Pair, pipeline: Pipeline) -> None:
    """What readers saw before the audit repaired it is on record as it was."""
    tenant, _ = pair
    pipeline.refresh()
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET total_duration_ms = 5, max_duration_ms = 777e6"
        " WHERE organization_id = %s AND period = 'week'",
        [tenant.organization],
    )
    before = pipeline.cells()

    pipeline.audit()

    expected = changes(before, pipeline.cells(), "drift")
    assert {rows[0].old["max_duration_ms"] for rows in expected.values() if rows[0].old} == {777e6}
    assert restated(pipeline.analytics) == expected


def test_only_a_period_that_is_over_is_restated(pipeline: Pipeline) -> None:
    """It ends by the organization's own clocks, and had to be over when it was last published."""
    # Complete through 2024-02-01 03:30 UTC: half past ten in the evening of January there, noon in Tokyo.
    over = {
        "UTC": {("hour", NOON + 14 * HOUR), ("day", NOON - 12 * HOUR), ("month", NOON - 30.5 * DAY)},
        "America/New_York": {("hour", NOON + 14 * HOUR)},
        "Asia/Tokyo": {
            ("hour", NOON + 14 * HOUR),
            ("day", NOON - 21 * HOUR),
            ("month", NOON - 30 * DAY - 21 * HOUR),
        },
    }
    tenants = {zone: pipeline.plant_tenant(zone) for zone in over}
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"))
    for zone, tenant in tenants.items():
        pipeline.live_in(tenant, zone)
    pipeline.refresh()
    for zone, tenant in tenants.items():
        complete_through(pipeline.analytics, tenant, NOON + 15 * HOUR + 30 * MINUTE)
        # One in the hour before last, which for New York is the evening of a day that goes on; one in this.
        ended = [NOON + 14 * HOUR + MINUTE, NOON + 15 * HOUR + MINUTE]
        if zone != "America/New_York":
            ended.append(NOON - HOUR - 30 * MINUTE)
            over[zone].add(("hour", NOON - 2 * HOUR))
        pipeline.plant_jobs(tenant, [{"completed_at": moment} for moment in ended])

    pipeline.refresh()

    assert {key[:3] for key in restated(pipeline.analytics)} == {
        (tenants[zone].organization, *bucket) for zone, buckets in over.items() for bucket in buckets
    }


def test_a_period_ends_with_its_last_moment(pipeline: Pipeline) -> None:
    """Complete through the very end means over; a microsecond less means open."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.refresh()
    complete_through(pipeline.analytics, tenant, NOON + HOUR)
    complete_through(pipeline.analytics, neighbour, NOON + HOUR - timedelta(microseconds=1))
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)

    pipeline.refresh()

    assert {key[:3] for key in restated(pipeline.analytics)} == {(tenant.organization, "hour", NOON)}


def test_what_is_going_on_grows_without_a_word(pipeline: Pipeline) -> None:
    """By the real clock: jobs that end now restate neither their hour nor anything longer."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.refresh()
    for _ in range(3):
        now = pipeline.source.execute("SELECT now()").fetchone()[0]
        pipeline.plant_job(tenant, completed_at=now)
        pipeline.refresh()
    ((through,),) = pipeline.select(
        "SELECT complete_through FROM analytics.watermarks WHERE subject = 'jobs' AND organization_id = %s",
        [tenant.organization],
    )

    # Should an hour have ended just then, it alone may be on record.
    open_since = through.replace(minute=0, second=0, microsecond=0)
    assert {key for key in restated(pipeline.analytics) if key[2] >= open_since} == set()
    assert {key[1] for key in restated(pipeline.analytics)} <= ({"hour"} if now < open_since else set())


def test_the_first_publication_and_an_unchanged_second_restate_nothing(
    pair: Pair, pipeline: Pipeline
) -> None:
    """History is published for the first time like anything else, also of one who comes later."""
    pipeline.refresh()
    pipeline.plant_job(pipeline.plant_tenant("Newcomer"))

    pipeline.refresh()
    pipeline.refresh(organization_ids=[pair[0].organization])

    assert restated(pipeline.analytics) == {}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("late edited retried deleted", "deleted"),
        ("deleted retried edited late", "deleted"),
        ("late retried edited", "edited"),
        ("late retried", "retried"),
        ("retried late", "retried"),
    ],
)
def test_of_several_reasons_the_least_expected_is_told(
    pair: Pair, pipeline: Pipeline, steps: str, reason: str
) -> None:
    """Jobs that change one cell together give it one reason, whatever came first."""
    tenant, _ = pair
    jobs = pipeline.plant_jobs(tenant, [{}, {}, {}, {}])
    pipeline.refresh()
    before = pipeline.cells()
    edits = {"edited": "outcome", "retried": "running again", "deleted": "soft-deleted"}
    for job, step in zip(jobs, steps.split(), strict=False):
        if step == "late":
            pipeline.plant_job(tenant, started_at=NOON - HOUR)
        else:
            pipeline.change_job(job, **EDITS[edits[step]][0])

    pipeline.refresh()

    expected = changes(before, pipeline.cells(), reason)
    assert expected
    assert restated(pipeline.analytics) == expected


def test_every_reason_is_told_by_some_test() -> None:
    """A reason that is added to the model needs a test here."""
    told = {reason for _, reason in EDITS.values()} | {"late", "time_zone", "definition", "backfill", "drift"}

    assert told == {reason.value for reason in Reasons}


def with_ids(columns: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
    """The same with the tenant's own ids for their numbers."""
    own = {"workflow_id": tenant.workflows, "client_id": tenant.clients}
    return {
        name: own[name][value] if name in own and value is not None else value
        for name, value in columns.items()
    }


def of(stored: dict[Key, Cell], tenant: Tenant) -> dict[Key, Cell]:
    """The cells of one organization."""
    return {key: cell for key, cell in stored.items() if key[0] == tenant.organization}
