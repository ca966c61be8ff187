"""A cell explains itself: its figures, its jobs, when it changed and why, and what it showed before."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg import Connection

from pipelines.errors import CellNotFound
from pipelines.extract.request import Request
from pipelines.runs.explain import CellName, Evidence, Explanation, Figures, Occasion, explain
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period
from tests.support.oracle import NO_CLIENT, bucket
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, HOUR, KEY, MINUTE, NOON, Key, Tenant, new_id
from tests.support.restatement_oracle import complete_through, figures
from tests.support.sampling import EVERYTHING

MICROSECOND = timedelta(microseconds=1)

ZONES = [
    "UTC",
    *(["America/New_York", "America/Los_Angeles", "Pacific/Honolulu", "Asia/Kolkata"] if EVERYTHING else []),
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    # It was east of the date line before 2012, so that an offset of then is a day off.
    "Pacific/Apia",
    "Etc/GMT+12",
]

Explain = Callable[..., Explanation]


@pytest.fixture
def explained(pipeline: Pipeline) -> Explain:
    """A function that explains the day of NOON, or what its arguments name instead."""

    def call(
        tenant: Tenant, start: date = NOON, *, as_of: datetime | None = None, **name: Any
    ) -> Explanation:
        cell = {column: name.pop(column) for column in JOBS.dimension_columns if column in name}
        named = CellName(
            **{"organization_id": tenant.organization, "period": Period.DAY, "start": start} | name, cell=cell
        )
        return explain(pipeline.run, named, as_of=as_of)

    return call


@pytest.fixture
def pair(pipeline: Pipeline) -> Pair:
    """A tenant, and a neighbour who always has jobs in the same buckets."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_jobs(neighbour, [{"client_id": None}, {"initiator_type": None}, {"status": "FAILED"}])
    return tenant, neighbour


@pytest.fixture
def tenant(pair: Pair, pipeline: Pipeline) -> Tenant:
    """The tenant, whose only job ended at NOON and was published."""
    pipeline.plant_job(pair[0])
    pipeline.refresh()
    return pair[0]


def test_every_cell_counts_the_jobs_that_the_facts_have_of_it(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """Whatever its key, the figures are the stored ones, and so many facts are in it, nobody else's."""
    tenant, _ = pair
    pipeline.live_in(tenant, "Asia/Kolkata")
    pipeline.plant_jobs(
        tenant,
        [
            {},
            {"client_id": None, "initiator_type": None, "workflow_id": tenant.workflows[1]},
            {"client_id": tenant.clients[1], "initiator_type": "API", "completed_at": NOON + 8 * HOUR},
            {"status": "FAILED", "completed_at": NOON + 13 * HOUR},
        ],
    )
    pipeline.refresh()
    stored = pipeline.cells(tenant.organization)

    found = {key: explained(tenant, key[2], **named(key)) for key in some(stored)}

    for key, said in found.items():
        assert said.figures == figures(stored[key])
        assert said.rows == stored[key]["total_executions"]
        assert said.changed_at == stored[key]["computed_at"]
    assert {key[1] for key in found} == {period.value for period in Period}
    assert {(said.time_zone, said.because, said.restatements) for said in found.values()} == {
        ("Asia/Kolkata", Occasion.PUBLISHED, ())
    }


def test_a_date_names_the_day_of_the_organization(pipeline: Pipeline, explained: Explain) -> None:
    """So do the hour of its midnight, its week and its month; the days beside it are other cells."""
    day, tenants = date(2024, 6, 30), {zone: pipeline.plant_tenant(zone) for zone in ZONES}
    midnights = {zone: datetime(2024, 6, 30, tzinfo=ZoneInfo(zone)) for zone in ZONES}
    for zone, tenant in tenants.items():
        pipeline.live_in(tenant, zone)
        inside = [midnights[zone], midnights[zone] + DAY - MICROSECOND]
        beside = [midnights[zone] - MICROSECOND, midnights[zone] + DAY, midnights[zone] + DAY + HOUR]
        pipeline.plant_jobs(tenant, [{"completed_at": moment} for moment in inside + beside])
    pipeline.refresh()

    found = {
        (zone, period): explained(tenant, day, period=period)
        for zone, tenant in tenants.items()
        for period in Period
    }

    assert {name: said.period_start for name, said in found.items()} == {
        (zone, period): bucket(midnight.astimezone(UTC), period.value, zone)
        for zone, midnight in midnights.items()
        for period in Period
    }
    days = {zone: found[zone, Period.DAY] for zone in ZONES}
    assert {said.period_end - said.period_start for said in days.values()} == {DAY}
    assert {zone: said.rows for zone, said in days.items()} == dict.fromkeys(ZONES, 2)


def test_a_day_is_as_long_as_its_clocks_say(pair: Pair, pipeline: Pipeline, explained: Explain) -> None:
    """The end of a day with 23 or 25 hours is the next local midnight."""
    tenant, _ = pair
    zone = ZoneInfo("America/New_York")
    pipeline.live_in(tenant, zone.key)
    hours = {date(2024, 3, 10): 23, date(2024, 11, 3): 25, date(2024, 11, 4): 24}
    lasts = [datetime(day.year, day.month, day.day, 23, 59, tzinfo=zone) for day in hours]
    pipeline.plant_jobs(tenant, [{"completed_at": last} for last in lasts])
    pipeline.refresh()

    found = {day: explained(tenant, day) for day in hours}

    assert {day: said.rows for day, said in found.items()} == dict.fromkeys(hours, 1)
    assert {day: (said.period_end - said.period_start) / HOUR for day, said in found.items()} == hours


def test_any_moment_of_a_bucket_names_it(tenant: Tenant, explained: Explain) -> None:
    """From its first moment to its last, and not the one after."""

    found = [explained(tenant, moment, period=Period.HOUR) for moment in (NOON, NOON + HOUR - MICROSECOND)]

    assert [said.period_start for said in found] == [NOON, NOON]
    for moment in (NOON - MICROSECOND, NOON + HOUR):
        with pytest.raises(CellNotFound):
            explained(tenant, moment, period=Period.HOUR)


def test_three_restatements_tell_every_value_in_between(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """What a reader saw at any earlier moment is told again, with how long it stood, for every cell."""
    tenant, neighbour = pair
    job = pipeline.plant_job(tenant, completed_at=NOON - HOUR)
    pipeline.refresh()
    seen = [(now(pipeline.analytics), pipeline.cells(tenant.organization))]
    for step in (
        lambda: pipeline.plant_job(tenant),
        lambda: pipeline.change_job(job, status="FAILED", started_at=NOON - 2 * HOUR),
        lambda: pipeline.change_job(job, deleted_at=NOON),
    ):
        step()
        pipeline.change_job(pipeline.plant_job(neighbour), status="FAILED")
        pipeline.refresh()
        seen.append((now(pipeline.analytics), pipeline.cells(tenant.organization)))

    for key in some(seen[-1][1] | seen[0][1]):
        for moment, then in seen:
            told = explained(tenant, key[2], as_of=moment, **named(key)).as_of
            assert (told.on_record, told.figures) == (True, figures(then.get(key)))
    whole = explained(tenant, as_of=seen[1][0])
    assert [each.reason for each in whole.restatements] == ["late", "edited", "deleted"]
    assert [each.new for each in whole.restatements[:2]] == [each.old for each in whole.restatements[1:]]
    assert whole.restatements[-1].new == whole.figures
    assert len({each.run_id for each in whole.restatements}) == 3
    assert whole.because == "deleted"
    assert (whole.as_of.since, whole.as_of.until) == tuple(
        each.restated_at for each in whole.restatements[:2]
    )


def test_a_cell_that_is_gone_still_tells_what_it_was(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """It has no figures any more, and the restatement that emptied it says why."""
    tenant, _ = pair
    pipeline.plant_job(tenant, completed_at=NOON + 40 * DAY)
    pipeline.refresh()
    before = now(pipeline.analytics)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    between = now(pipeline.analytics)
    pipeline.change_job(job, deleted_at=NOON)
    pipeline.refresh()

    found = [explained(tenant, as_of=moment) for moment in (before, between, now(pipeline.analytics))]

    assert {(said.figures, said.rows, said.because) for said in found} == {(None, 0, "deleted")}
    assert [said.as_of.on_record for said in found] == [True, True, True]
    totals = [said.as_of.figures and said.as_of.figures["total_executions"] for said in found]
    assert totals == [None, 1, None]
    assert found[0].changed_at == found[0].restatements[-1].restated_at


def test_what_a_growing_cell_showed_is_not_made_up(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """Before its period is over nothing is kept; but what has not changed since is known."""
    tenant, _ = pair
    pipeline.refresh()
    complete_through(pipeline.analytics, tenant, NOON)
    # As if it was noon of that day: the clock of the source is the real one, so the cell is set back.
    pipeline.plant_job(tenant)
    pipeline.refresh()
    set_back(pipeline.analytics, tenant, NOON + MINUTE)
    grown = explained(tenant, as_of=NOON)
    later = explained(tenant, as_of=NOON + HOUR)

    assert grown.because == Occasion.OPEN
    assert known(grown) == (False, Evidence.OPEN, None)
    assert known(later) == (True, Evidence.UNCHANGED, later.figures)


def test_a_growing_cell_says_that_it_grows(pair: Pair, pipeline: Pipeline, explained: Explain) -> None:
    """A period is over when the organization was complete beyond its end, by its own clocks."""
    tenant, _ = pair
    pipeline.live_in(tenant, "America/New_York")
    pipeline.plant_job(tenant)
    pipeline.refresh()
    # In New York the day of NOON ends at five in the morning of UTC's next one.
    complete_through(pipeline.analytics, tenant, NOON + 17 * HOUR - MICROSECOND)
    still = explained(tenant).is_over
    complete_through(pipeline.analytics, tenant, NOON + 17 * HOUR)

    assert (still, explained(tenant).is_over) == (False, True)


def test_before_the_first_publication_nothing_is_on_record(
    tenant: Tenant, pipeline: Pipeline, explained: Explain
) -> None:
    """History that was published later than the moment asked for was not shown then, restated or not."""
    unrestated = explained(tenant, as_of=NOON + 2 * DAY)
    pipeline.plant_job(tenant)
    pipeline.refresh()

    found = explained(tenant, as_of=NOON + 2 * DAY)

    assert len(found.restatements) == 1
    assert known(unrestated) == known(found) == (False, Evidence.NOT_PUBLISHED, None)


def test_another_organization_s_first_publication_is_nobody_else_s(
    pipeline: Pipeline, explained: Explain
) -> None:
    """One that came later showed none of its history before; nor did a cell before it was written."""
    early, late = pipeline.plant_tenant(), pipeline.plant_tenant("Newcomer")
    pipeline.plant_job(early)
    pipeline.refresh()
    between = now(pipeline.analytics)
    pipeline.plant_job(late)
    pipeline.refresh()
    shown = now(pipeline.analytics)
    pipeline.plant_job(late)
    pipeline.refresh()

    before, after = explained(late, as_of=between), explained(late, as_of=shown)

    assert known(before)[:2] == (False, Evidence.NOT_PUBLISHED)
    assert known(after)[:2] == (True, Evidence.RESTATED)
    assert after.as_of.figures["total_executions"] == 1


def test_figures_that_drifted_are_not_what_was_shown_all_the_time(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """Nobody knows since when a cell was wrong, so what it showed before it was repaired is not on record."""
    tenant, _ = pair
    pipeline.plant_job(tenant)
    pipeline.refresh()
    right = now(pipeline.analytics)
    pipeline.analytics.execute("UPDATE analytics.aggregate_metrics SET max_duration_ms = 777e6")
    pipeline.audit()

    told, repaired = (explained(tenant, as_of=moment) for moment in (right, now(pipeline.analytics)))

    assert known(told) == (False, Evidence.DRIFTED, None)
    assert known(repaired)[:2] == (True, Evidence.UNCHANGED)


def test_what_retention_removed_is_not_made_up(
    tenant: Tenant, pipeline: Pipeline, explained: Explain
) -> None:
    """Before a restatement that was removed the value is unknown, whatever a later one says."""
    first = now(pipeline.analytics)
    for _ in range(2):
        pipeline.plant_job(tenant)
        pipeline.refresh()
    between = explained(tenant).restatements[1].restated_at - MICROSECOND
    keep = pipeline.having(keep_restatements=timedelta(days=30))

    removed = keep.retain(now=between + timedelta(days=30)).restatements

    told, kept = explained(tenant, as_of=first), explained(tenant, as_of=between)
    assert removed > 0
    assert len(explained(tenant).restatements) == 1
    assert known(told) == (False, Evidence.REMOVED, None)
    assert kept.as_of.on_record
    assert kept.as_of.figures["total_executions"] == 2


def test_why_a_cell_changed_can_be_forgotten(tenant: Tenant, pipeline: Pipeline, explained: Explain) -> None:
    """When restatements of then were removed, a cell without one may have been restated all the same."""
    pipeline.plant_job(tenant)
    pipeline.refresh()
    before = explained(tenant)
    keep = pipeline.having(keep_restatements=timedelta(days=30))

    keep.retain(now=before.restatements[-1].restated_at + timedelta(days=31))

    after = explained(tenant)
    assert (before.because, after.because) == ("late", Occasion.NOT_ON_RECORD)
    assert after.restatements == ()
    assert after.figures == before.figures


def test_the_days_of_an_earlier_time_zone_are_found_by_their_start(
    pair: Pair, pipeline: Pipeline, explained: Explain
) -> None:
    """They are gone, and on record; where the present zone has a cell at that moment, it goes first."""
    tenant, _ = pair
    pipeline.plant_job(tenant, completed_at=NOON)
    pipeline.refresh()
    pipeline.live_in(tenant, "America/New_York")
    pipeline.refresh()

    old, new = explained(tenant, NOON - 12 * HOUR), explained(tenant, NOON - HOUR)

    assert (old.figures, old.rows, old.because) == (None, 0, "time_zone")
    assert old.restatements[0].old
    assert (new.period_start, new.rows, new.because) == (NOON - 7 * HOUR, 1, "time_zone")
    assert new.restatements[0].old is None
    pipeline.plant_job(tenant, completed_at=NOON - 19 * HOUR)
    pipeline.refresh()
    assert explained(tenant, NOON - 12 * HOUR).period_start == NOON - 31 * HOUR


def test_facts_that_are_not_published_yet_show_beside_the_cell(
    tenant: Tenant, pipeline: Pipeline, explained: Explain
) -> None:
    """The facts have one job more than the cell counts, until the next publication."""
    pipeline.plant_job(tenant)
    pipeline.extract_changes(Request())

    found = explained(tenant)

    assert (found.figures["total_executions"], found.rows) == (1, 2)


def test_a_neighbours_cell_is_no_cell_of_mine(pair: Pair, pipeline: Pipeline, explained: Explain) -> None:
    """Neither by the neighbour's workflow and client nor by a bucket in which only the neighbour has jobs."""
    tenant, neighbour = pair
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour, completed_at=NOON + 9 * DAY, client_id=neighbour.clients[1])
    pipeline.refresh()

    for name in (
        {"workflow_id": neighbour.workflows[0]},
        {"client_id": neighbour.clients[0]},
        {"client_id": NO_CLIENT},
        {"start": NOON + 9 * DAY},
    ):
        with pytest.raises(CellNotFound):
            explained(tenant, **name)
    assert explained(neighbour, NOON + 9 * DAY).rows == 1


def test_a_cell_that_cannot_be_is_told_why(tenant: Tenant, pipeline: Pipeline, explained: Explain) -> None:
    """A unknown has none, the rollup plan does not keep some, and retention removed others."""
    pipeline.having(keep_hours=30 * DAY).retain(now=NOON + 40 * DAY)

    with pytest.raises(CellNotFound, match=r"is named\.$"):
        explained(tenant, organization_id=new_id())
    with pytest.raises(CellNotFound, match=r"is named\.$"):
        explained(tenant, NOON + DAY)
    with pytest.raises(CellNotFound, match="EXECMETRICS_ROLLUP_PLAN does not combine"):
        explained(tenant, period=Period.HOUR, workflow_id=tenant.workflows[0], client_id=tenant.clients[0])
    with pytest.raises(CellNotFound, match=r"before 2024-02-10 were removed"):
        explained(tenant, period=Period.HOUR)
    assert explained(tenant).rows == 1


def test_explaining_writes_nothing(tenant: Tenant, pipeline: Pipeline, explained: Explain) -> None:
    """It asks in a transaction that could not, and needs no lock: a run under way does not hold it up."""
    before = pipeline.row_versions()
    pipeline.analytics.execute("SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))")

    assert explained(tenant).rows == 1

    assert pipeline.row_versions() == before


def known(explanation: Explanation) -> tuple[bool, Evidence, Figures | None]:
    """Whether what the cell showed is on record, what tells so, and the figures."""
    return explanation.as_of.on_record, explanation.as_of.evidence, explanation.as_of.figures


def named(key: Key) -> dict[str, Any]:
    """The columns of a key that name a cell beside its organization and start."""
    name = dict(zip(KEY.split(", "), key, strict=True))
    del name["organization_id"], name["period_start"]
    return name | {"period": Period(name["period"])}


def some(keys: Iterable[Key]) -> list[Key]:
    """Every cell's key, or in a sample every fifth, in the order of the keys."""
    return sorted(keys)[:: 1 if EVERYTHING else 5]


def now(analytics: Connection) -> datetime:
    """What the clock shows where restatements are written."""
    return analytics.execute("SELECT clock_timestamp()").fetchone()[0]


def set_back(analytics: Connection, tenant: Tenant, moment: datetime) -> None:
    """Have the tenant's cells last changed at a moment."""
    analytics.execute(
        "UPDATE analytics.aggregate_metrics SET computed_at = %s WHERE organization_id = %s",
        [moment, tenant.organization],
    )
