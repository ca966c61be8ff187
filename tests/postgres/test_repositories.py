"""What a tenant is answered is what plain SQL says of its own jobs, over any range that is allowed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import product
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from pipelines.errors import (
    AnalyticsQueryError,
    ClientNotVisible,
    InvalidRange,
    RangeNotStored,
    UnknownMeasure,
    WorkflowNotVisible,
)
from pipelines.postgres.connections import Databases
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.records import EACH, RangeFigures
from pipelines.query.tenant import admit, reading_as
from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.rollup import Period
from tests.conftest import Cluster, CreateDatabase
from tests.postgres.api.conftest import pipeline_for_many
from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, new_id
from tests.support.query_plans import Recorded
from tests.support.sampling import EVERYTHING

JOBS = 150

ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"]

# What is true of a range, said of the source alone.
TRUTH = """
    SELECT
        count(*) AS total, count(*) FILTER (WHERE status = 'COMPLETED') AS completed, count(ms) AS timed,
        avg(ms)::float8 AS average, min(ms)::float8 AS least, max(ms)::float8 AS most,
        percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms::float8) AS percentiles
    FROM (
        SELECT
            *,
            CASE
                WHEN completed_at >= started_at THEN 1000 * extract(epoch FROM completed_at - started_at)
            END AS ms
        FROM orchestration.jobs
    ) AS jobs
    WHERE
        organization_id = %(organization)s AND completed_at >= %(since)s AND completed_at < %(until)s
        AND (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
        AND (%(client_id)s::uuid IS NULL OR coalesce(client_id, %(no_client)s) = %(client_id)s)
        AND (%(initiator_type)s::text IS NULL OR coalesce(initiator_type, 'unknown') = %(initiator_type)s)
"""

NOT_VISIBLE = {"workflow_id": WorkflowNotVisible, "client_id": ClientNotVisible}
INITIATORS = ("USER", "SCHEDULE", "unknown")
DIMENSIONS = ("workflow_id", "client_id", "initiator_type")


@dataclass(frozen=True)
class World:
    """A database whose jobs are in its aggregates, and its tenants by their zone."""

    pipeline: Pipeline
    tenants: dict[str, Tenant]

    @contextmanager
    def reading(self, tenant: Tenant) -> Iterator[AnalyticsRepository]:
        """A tenant's repository."""
        identity, url = admit(tenant.organization), self.pipeline.databases.analytics_url
        with reading_as(url, self.pipeline.settings, identity) as connection:
            yield AnalyticsRepository(connection, identity)

    def truth(self, tenant: Tenant, since: datetime, until: datetime, **named: Any) -> dict[str, Any]:
        """What the source says of a range, of the dimensions that are named by their columns."""
        values = {"organization": tenant.organization, "since": since, "until": until, "no_client": NO_CLIENT}
        values |= dict.fromkeys(DIMENSIONS) | named
        with self.pipeline.source.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(TRUTH, values).fetchone()
        assert found
        return found

    def compare(
        self,
        metrics: AnalyticsRepository,
        tenant: Tenant,
        since: datetime,
        until: datetime,
        *,
        exact: bool | None = None,
        **named: Any,
    ) -> tuple[RangeFigures, dict[str, Any]]:
        """The figures of a range and the truth, once compared: percentiles too, if exact or close."""
        found = metrics.get_total(since=since, until=until, **named)
        true = self.truth(tenant, since, until, **named)
        assert_counted(found, true, (named, since, until))
        if exact is not None:
            assert_percentiles(found, true, (named, since, until), exact=exact)
        return found, true


@pytest.fixture(scope="module")
def planted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An organization in each zone with jobs in three months, each with three neighbours; refreshed."""
    chance, found = Random(4), {}
    with pipeline_for_many(cluster, tmp_path_factory) as pipeline:
        for zone in ZONES:
            found[zone] = tenant = pipeline.plant_tenant(f"Acme of {zone}", workflows=3)
            pipeline.live_in(tenant, zone)
            pipeline.plant_jobs(tenant, [any_job(tenant, chance) for _ in range(JOBS)])
        pipeline.refresh()
        # A database to which somebody is connected cannot be copied.
        pipeline.source.close()
        yield World(pipeline, found)


@pytest.fixture
def databases(request: pytest.FixtureRequest, planted: World, create_database: CreateDatabase) -> Databases:
    """The planted database, or a copy of it for a test that changes something."""
    url = planted.pipeline.databases.analytics_url
    if request.node.get_closest_marker("changes_the_planted"):
        url = create_database(conninfo_to_dict(url)["dbname"])
    return Databases(url, url)


@pytest.fixture
def world(pipeline: Pipeline, planted: World) -> World:
    """The same, and its tenants."""
    return World(pipeline, planted.tenants)


@pytest.mark.parametrize("zone", ZONES)
def test_counts_and_means_of_any_hours_are_those_of_the_jobs(zone: str, world: World) -> None:
    """From hour to hour, for the whole tenant and for each workflow, across days, weeks and months."""
    chance, tenant = Random(zone), world.tenants[zone]
    with world.reading(tenant) as metrics:
        for _ in range(12):
            since = NOON + chance.randrange(-24 * 40, 24 * 40) * HOUR
            until = since + chance.choice([1, 7, 30, 24 * 7, 24 * 31, 24 * 80]) * HOUR
            for workflow in (None, *tenant.workflows):
                world.compare(metrics, tenant, since, until, workflow_id=workflow)


@pytest.mark.parametrize("zone", ZONES)
def test_any_days_are_told_by_two_dimensions(zone: str, world: World) -> None:
    """From one local midnight to another, the figures of each pair are those of its jobs."""
    chance, tenant, clocks = Random(zone), world.tenants[zone], ZoneInfo(zone)
    with world.reading(tenant) as metrics:
        for named in combinations(tenant, 2):
            first = date(2023, 12, 25) + chance.randrange(40) * DAY
            last = first + chance.choice([1, 2, 6, 7, 30, 45]) * DAY
            since, until = (datetime(*day.timetuple()[:3], tzinfo=clocks) for day in (first, last))
            exact = last - first == DAY or (last - first == 7 * DAY and first.weekday() == 0)
            world.compare(metrics, tenant, since, until, exact=exact, **named)


@pytest.mark.parametrize("zone", ZONES)
def test_weeks_and_months_are_told_by_three_dimensions(zone: str, world: World) -> None:
    """Counts and means of any; percentiles of one, and of more none at all rather than wrong ones."""
    tenant, clocks = world.tenants[zone], ZoneInfo(zone)
    week, month = datetime(2024, 1, 29, tzinfo=clocks), datetime(2024, 1, 1, tzinfo=clocks)
    ranges = [
        (week, datetime(2024, 2, 5, tzinfo=clocks), True),
        (month, datetime(2024, 2, 1, tzinfo=clocks), True),
        (week, datetime(2024, 2, 12, tzinfo=clocks), False),
        (month, datetime(2024, 3, 1, tzinfo=clocks), False),
    ]
    timed = 0
    with world.reading(tenant) as metrics:
        for (since, until, exact), named in product(ranges, combinations(tenant, 3)):
            found, true = world.compare(metrics, tenant, since, until, exact=exact or None, **named)
            if not exact:
                timed += true["timed"]
                assert figures_of(found) == [None] * 4
                assert (found.estimated, found.relative_error) == (False, None)

    assert timed > 0


@pytest.mark.parametrize("zone", ZONES)
def test_percentiles_are_exact_for_what_is_stored_and_close_otherwise(zone: str, world: World) -> None:
    """One bucket's are the stored ones; over others the answer says how far off it may be, and is not."""
    tenant, clocks = world.tenants[zone], ZoneInfo(zone)
    midnight = datetime(2024, 2, 5, tzinfo=clocks)
    buckets = [
        (NOON, NOON + HOUR),
        (midnight, datetime(2024, 2, 6, tzinfo=clocks)),
        (midnight, datetime(2024, 2, 12, tzinfo=clocks)),
        (datetime(2024, 2, 1, tzinfo=clocks), datetime(2024, 3, 1, tzinfo=clocks)),
    ]
    others = [
        (midnight, midnight + 2 * DAY),
        (midnight - 9 * DAY, midnight + 20 * DAY),
        (NOON - 3 * HOUR, NOON + 900 * HOUR),
        (NOON - 5 * HOUR, NOON - 4 * HOUR + 24 * HOUR),
    ]
    with world.reading(tenant) as metrics:
        for (since, until), workflow in product(buckets + others, (None, tenant.workflows[0])):
            exact = (since, until) in buckets
            world.compare(metrics, tenant, since, until, exact=exact, workflow_id=workflow)


@pytest.mark.changes_the_planted
def test_missing_histograms_are_not_made_up_for(world: World) -> None:
    """While some cells are of an older definition, no percentile is told of the jobs of the others."""
    tenant = world.tenants["UTC"]
    asked = {"since": NOON - 3 * HOUR, "until": NOON + 900 * HOUR}
    changed = world.pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET histogram_buckets = NULL, histogram_counts = NULL"
        " WHERE organization_id = %s AND histogram_counts IS NOT NULL"
        " AND period_start >= %s AND period_start < %s AND workflow_id IN (%s, %s)",
        [tenant.organization, asked["since"], asked["until"], ALL, tenant.workflows[0]],
    ).rowcount

    with world.reading(tenant) as metrics:
        one = metrics.get_total(**asked)
        rows = {each.which: each for each in metrics.get_breakdown("workflow_id", **asked)}

    assert changed > 0
    for found in (one, rows[tenant.workflows[0]]):
        assert found["timed_executions"] > 0
        assert figures_of(found) == [None] * 4
        assert (found.estimated, found.relative_error) == (False, None)
    assert rows[tenant.workflows[1]].estimated
    assert None not in figures_of(rows[tenant.workflows[1]])


@pytest.mark.changes_the_planted
@pytest.mark.parametrize("kind", ["workflow", "client"])
def test_every_workflow_and_client_is_told_with_its_name(kind: str, world: World) -> None:
    """The slowest first, the idle last, no deleted or foreign one; jobs without a client have a row, too."""
    tenant = world.tenants["UTC"]
    *used, gone = getattr(tenant, f"{kind}s")
    idle = new_id()
    world.pipeline.source.execute(
        f"INSERT INTO orchestration.{kind}s (id, organization_id, name) VALUES (%s, %s, 'Idle')",
        [idle, tenant.organization],
    )
    world.pipeline.source.execute(
        f"UPDATE orchestration.{kind}s SET deleted_at = now() WHERE id = %s", [gone]
    )
    world.pipeline.refresh()
    since, until = NOON - 20 * DAY, NOON + 20 * DAY

    with world.reading(tenant) as metrics:
        ask = partial(metrics.get_breakdown, f"{kind}_id")
        found, later = ask(since=since, until=until), ask(since=until + 280 * DAY, until=until + 281 * DAY)

    names = {each: f"Acme of UTC {kind} {number}" for number, each in enumerate(used, 1)} | {idle: "Idle"}
    without_one = {NO_CLIENT: None} if kind == "client" else {}
    assert {each.which: each.name for each in found} == names | without_one
    assert {each.which for each in found if each.which == NO_CLIENT} == set(without_one)
    assert (found[-1].which, found[-1]["total_executions"]) == (idle, 0)
    assert (found[-1]["success_rate_pct"], found[-1]["median_duration_ms"]) == (None, None)
    assert_slowest_first(found)
    for each in found[:-1]:
        true = world.truth(tenant, since, until, **{f"{kind}_id": each.which})
        assert_counted(each, true, each.name)
        assert_percentiles(each, true, each.name, exact=False)
        assert each["success_rate_pct"] == pytest.approx(100 * true["completed"] / true["total"])
    assert {each.which: each["total_executions"] for each in later} == dict.fromkeys(names, 0)


def test_every_initiator_is_told_that_started_a_job(world: World) -> None:
    """The slowest first, `unknown` among them; where nothing was started there is none."""
    tenant = world.tenants["Pacific/Chatham"]
    since, until = NOON - 20 * DAY, NOON + 20 * DAY

    with world.reading(tenant) as metrics:
        found = metrics.get_breakdown("initiator_type", since=since, until=until)
        later = metrics.get_breakdown("initiator_type", since=NOON + 300 * DAY, until=NOON + 301 * DAY)

    assert {each.which for each in found} == set(INITIATORS)
    assert_slowest_first(found)
    for each in found:
        true = world.truth(tenant, since, until, initiator_type=each.which)
        assert_counted(each, true, each.which)
        assert_percentiles(each, true, each.which, exact=False)
    assert later == ()


def test_each_is_told_of_a_part_of_the_jobs(world: World) -> None:
    """Workflows of one client, clients of one initiator and so on: each row is that of the jobs of both."""
    tenant, clocks = world.tenants["America/New_York"], ZoneInfo("America/New_York")
    since, until = datetime(2024, 1, 1, tzinfo=clocks), datetime(2024, 3, 1, tzinfo=clocks)
    listed = {
        "workflow_id": set(tenant.workflows),
        "client_id": {*tenant.clients, NO_CLIENT},
        "initiator_type": set(INITIATORS),
    }
    with world.reading(tenant) as metrics:
        for (kind, every), dimensions in product(listed.items(), (1, 2)):
            for named in combinations(tenant, dimensions):
                if named.pop(kind) is not None:
                    continue
                found = metrics.get_breakdown(kind, since=since, until=until, **named)

                assert_slowest_first(found)
                by_key = {each.which: each for each in found}
                assert by_key.keys() <= every
                for key in every:
                    true = world.truth(tenant, since, until, **named | {kind: key})
                    if key not in by_key:
                        assert true["total"] == 0
                        continue
                    assert_counted(by_key[key], true, (named, key))
                    if dimensions == 1:
                        assert_percentiles(by_key[key], true, (named, key), exact=False)
                    else:
                        assert by_key[key].relative_error is None


@pytest.mark.changes_the_planted
def test_who_is_no_workflow_or_client_of_the_tenant_is_not_visible(world: World) -> None:
    """Another tenant's, a deleted one and one that never was are the same, to the letter."""
    tenant, neighbour = world.tenants["UTC"], world.tenants["Asia/Kolkata"]
    workflow, client = tenant.workflows[2], tenant.clients[1]
    world.pipeline.source.execute(
        "UPDATE orchestration.workflows SET deleted_at = now() WHERE id = %s", [workflow]
    )
    world.pipeline.source.execute(
        "UPDATE orchestration.clients SET deleted_at = now() WHERE id = %s", [client]
    )
    world.pipeline.refresh()
    day = {"since": NOON.replace(hour=0), "until": NOON.replace(hour=0) + DAY}
    said = defaultdict(set)
    for name, absent, dimensions in (
        ("workflow_id", workflow, ("client_id", "initiator_type")),
        ("client_id", client, ("workflow_id", "initiator_type")),
    ):
        foreign = neighbour.workflows[0] if name == "workflow_id" else neighbour.clients[0]
        with world.reading(tenant) as metrics:
            for each, by in product((foreign, absent, new_id()), (None, *dimensions)):
                ask = partial(metrics.get_breakdown, by) if by else metrics.get_total
                with pytest.raises(NOT_VISIBLE[name]) as refused:
                    ask(**day, **{name: each})
                said[name].add(str(refused.value))

    assert {name: len(words) for name, words in said.items()} == {"workflow_id": 1, "client_id": 1}


def test_stored_rows_are_told_without_sentinels(world: World) -> None:
    """All together is None, jobs without a client are said to be, and a page goes on where the last ended."""
    tenant = world.tenants["America/New_York"]
    asked = {"period": Period.MONTH, "since": NOON - 99 * DAY, "until": NOON + 99 * DAY}
    with world.reading(tenant) as metrics:
        by_client = metrics.get_metrics(**asked, workflow_id=EACH, client_id=EACH, initiator_type=None)
        totals = metrics.get_metrics(**asked, measures=["total_executions"])
        none = metrics.get_metrics(**asked, client_id=NO_CLIENT)
        first = metrics.get_metrics(**asked, workflow_id=EACH, client_id=EACH, rows=5)
        last = first[-1]
        client = NO_CLIENT if last["has_no_client"] else last["client_id"]
        after = (last["period_start"], last["workflow_id"], client, "all")
        rest = metrics.get_metrics(**asked, workflow_id=EACH, client_id=EACH, after=after)

    stored = world.pipeline.cells(tenant.organization)
    assert {
        (
            row["period_start"],
            row["workflow_id"],
            NO_CLIENT if row["has_no_client"] else row["client_id"],
        ): row["p95_duration_ms"]
        for row in by_client
    } == {
        key[2:5]: cell["p95_duration_ms"]
        for key, cell in stored.items()
        if key[1] == "month" and ALL not in key[3:5] and key[5] == "all"
    }
    assert {row["initiator_type"] for row in by_client} == {None}
    assert [row["total_executions"] for row in totals] == [
        cell["total_executions"]
        for key, cell in sorted(stored.items())
        if key[1] == "month" and key[3:] == (ALL, ALL, "all")
    ]
    assert {(row["client_id"], row["has_no_client"], row["workflow_id"]) for row in none} == {
        (None, True, None)
    }
    assert first + rest == by_client


def test_what_is_not_stored_is_refused_in_a_sentence(world: World) -> None:
    """Half an hour, a range without extent or zone, a measure that nobody keeps."""
    with world.reading(world.tenants["UTC"]) as metrics:
        with pytest.raises(RangeNotStored, match="whole UTC hours, whole days and weeks and months"):
            metrics.get_total(since=NOON + 30 * MINUTE, until=NOON + 9 * HOUR)
        some_hours = {"since": NOON, "until": NOON + 9 * HOUR}
        a_pair = {"client_id": NO_CLIENT, "initiator_type": "USER"}
        with pytest.raises(RangeNotStored, match=r"\(whole days and weeks and months"):
            metrics.get_total(**some_hours, **a_pair)
        with pytest.raises(RangeNotStored, match=r"\(whole days and weeks and months"):
            metrics.get_breakdown("client_id", **some_hours, initiator_type="USER")
        with pytest.raises(RangeNotStored, match=r"\(whole weeks and months"):
            metrics.get_breakdown(
                "workflow_id", since=NOON.replace(hour=0), until=NOON.replace(hour=0) + DAY, **a_pair
            )
        for since, until in ((NOON, NOON), (NOON, NOON - DAY), (NOON.replace(tzinfo=None), NOON)):
            with pytest.raises((InvalidRange, TypeError)):
                metrics.get_total(since=since, until=until)
        with pytest.raises(UnknownMeasure, match="p50"):
            metrics.get_metrics(period=Period.DAY, since=NOON, until=NOON + DAY, measures=["p50"])


@pytest.mark.changes_the_planted
def test_hours_that_were_removed_are_not_taken_for_none(world: World) -> None:
    """No row is told and no zero, but since when hours are kept; days are as they were."""
    tenant, kept_since = world.tenants["UTC"], (NOON - DAY).replace(hour=0)
    world.pipeline.having(keep_hours=DAY).retain(now=NOON)
    before, after = ({"since": at, "until": at + HOUR} for at in (kept_since - HOUR, kept_since))
    day = NOON.replace(hour=0) - 3 * DAY

    with world.reading(tenant) as metrics:
        for ask in (
            metrics.get_total,
            lambda **range_: metrics.get_breakdown("workflow_id", **range_),
            lambda **range_: metrics.get_metrics(period=Period.HOUR, **range_),
        ):
            with pytest.raises(RangeNotStored, match="hours that began before 2024-01-30T00:00:00"):
                ask(**before)
            ask(**after)
        assert metrics.get_total(since=day, until=day + 2 * DAY)["total_executions"] > 0


def test_nobody_sees_a_neighbour_whatever_is_asked(world: World) -> None:
    """Each question of each tenant counts its own jobs; names and completeness are its own."""
    for tenant in world.tenants.values():
        with world.reading(tenant) as metrics:
            whole = {"since": NOON - 99 * DAY, "until": NOON + 99 * DAY}
            hours = {end: at.replace(minute=0) for end, at in whole.items()}
            workflows = metrics.get_breakdown("workflow_id", **hours)
            clients = metrics.get_breakdown("client_id", **hours)
            total = metrics.get_total(**hours)
            complete = metrics.get_completeness()

        assert {each.which for each in workflows} == set(tenant.workflows)
        assert {each.which for each in clients} == {*tenant.clients, NO_CLIENT}
        assert total["total_executions"] == JOBS
        assert complete
        (zone,) = (zone for zone, each in world.tenants.items() if each == tenant)
        assert (complete.time_zone, complete.organization_name) == (zone, f"Acme of {zone}")


def test_one_who_was_never_published_has_nothing(world: World) -> None:
    """No row is no error: zero jobs, no names, and completeness of nothing."""
    asked = {"since": NOON, "until": NOON + DAY}

    with world.reading(Tenant(new_id(), (), ())) as metrics:
        stats = metrics.get_total(**asked)
        shown = [metrics.get_breakdown(each, **asked) for each in DIMENSIONS]
        complete = metrics.get_completeness()

    assert (stats["total_executions"], stats["average_duration_ms"], complete) == (0, None, None)
    assert shown == [(), (), ()]


@pytest.mark.changes_the_planted
@pytest.mark.parametrize("many", [1, 1_000 if EVERYTHING else 100])
def test_many_are_asked_for_in_one_query(many: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: no workflow, client or initiator costs a query of its own, and no name."""
    tenant = world.pipeline.plant_tenant(workflows=many, clients=many)
    types = [f"Type {number}" for number in range(many)]
    each = zip(tenant.workflows, tenant.clients, types, strict=True)
    world.pipeline.plant_jobs(tenant, [dict(zip(DIMENSIONS, values, strict=True)) for values in each])
    world.pipeline.refresh()
    asked = {"since": NOON - DAY, "until": NOON + DAY}

    with world.reading(tenant) as metrics:
        metrics.get_total(**asked)
        monkeypatch.setattr(metrics._connection, "cursor_factory", Recorded)
        monkeypatch.setattr(Recorded, "told", [])
        found = [metrics.get_breakdown(each, **asked) for each in DIMENSIONS]
        metrics.get_total(**asked, workflow_id=tenant.workflows[0])
        metrics.get_total(**asked, client_id=tenant.clients[0])

    assert [len(rows) for rows in found] == [many] * 3
    assert len(Recorded.told) == 5


def test_the_drivers_words_stay_behind(world: World) -> None:
    """What went wrong in the database is for its operator, not for whoever asked."""
    with world.reading(world.tenants["UTC"]) as metrics:
        metrics._connection.execute("SET LOCAL role = 'pg_signal_backend'")
        with pytest.raises(AnalyticsQueryError) as failed:
            metrics.get_breakdown("workflow_id", since=NOON - 99 * DAY, until=NOON + 99 * DAY)
        metrics._connection.rollback()

    assert isinstance(failed.value.__cause__, psycopg.Error)
    assert "permission" in str(failed.value.__cause__)
    assert "permission" not in str(failed.value)


def any_job(tenant: Tenant, chance: Random) -> dict[str, Any]:
    """Some job of some 80 days; one in ten has a negative duration, one in twenty none at all."""
    completed_at = NOON + chance.randrange(-24 * 40 * 60, 24 * 40 * 60) * MINUTE
    if chance.random() < 0.3:
        completed_at = NOON + chance.randrange(240) * MINUTE
    taken = timedelta(microseconds=int(10 ** chance.uniform(0, 11)))
    taken = chance.choice([taken] * 17 + [-taken] * 2 + [timedelta(0)])
    return {
        "workflow_id": chance.choice(tenant.workflows),
        "client_id": chance.choice([*tenant.clients, None]),
        "initiator_type": chance.choice(["USER", "SCHEDULE", None]),
        "status": chance.choice(["COMPLETED", "COMPLETED", "FAILED"]),
        "completed_at": completed_at,
        "started_at": completed_at - taken,
    }


def combinations(tenant: Tenant, dimensions: int) -> list[dict[str, Any]]:
    """Every way to name one member of a number of dimensions, as the repository takes it."""
    named = {
        "workflow_id": (None, *tenant.workflows),
        "client_id": (None, *tenant.clients, NO_CLIENT),
        "initiator_type": (None, *INITIATORS),
    }
    every = [dict(zip(named, values, strict=True)) for values in product(*named.values())]
    return [each for each in every if sum(value is not None for value in each.values()) == dimensions]


def assert_counted(found: RangeFigures, true: dict[str, Any], where: Any) -> None:
    """Counts are those of the jobs, and means and extremes to the last digit but three."""
    counts = (found["total_executions"], found["completed_executions"], found["timed_executions"])
    assert counts == (true["total"], true["completed"], true["timed"]), where
    figures = [found["average_duration_ms"], found["min_duration_ms"], found["max_duration_ms"]]
    expected = [true["average"], true["least"], true["most"]]
    assert figures == (pytest.approx(expected, rel=1e-12) if true["timed"] else expected), where


def assert_percentiles(found: RangeFigures, true: dict[str, Any], where: Any, *, exact: bool) -> None:
    """Those of the jobs, to one percent where they are estimates."""
    assert (found.estimated, found["timed_executions"]) == (not exact, true["timed"]), where
    expected = true["percentiles"] or [None] * 4
    assert found.relative_error is not None
    tolerance = 1e-12 if exact else found.relative_error
    close = pytest.approx(expected, rel=tolerance) if true["timed"] else expected
    assert figures_of(found) == close, where
    assert exact or 0.0099 < tolerance < 0.01


def assert_slowest_first(found: Sequence[RangeFigures]) -> None:
    """By average duration, and who has none at the end."""
    averages = [each["average_duration_ms"] for each in found]
    assert averages == sorted(averages, key=lambda each: -1 if each is None else each, reverse=True)


def figures_of(found: RangeFigures) -> list[float | None]:
    """The four of them."""
    return [found[f"{name}_duration_ms"] for name in ("median", "p90", "p95", "p99")]
