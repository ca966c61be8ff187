"""The calendar of the source's organizations is what its own PostgreSQL says of their zones."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import polars as pl
import pytest
from psycopg import Connection

from pipelines.calendars.calendar import OFFSET_COLUMNS
from pipelines.source.snapshot import open_source
from pipelines.state.time_zones import ReadCalendar, calendar_in, find_calendar, keep_offsets, read_calendar
from pipelines.state.watermarks import Watermark
from pipelines.subjects.rollup import Period
from tests.support.oracle import Job, cells_by_hand, cells_by_sql, differences
from tests.support.pipeline import Pipeline, live_in
from tests.support.planting import DAY, HOUR, MINUTE, new_id, plant_jobs, plant_tenant, plant_watermark
from tests.support.sampling import EVERYTHING

SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)

# Servers differ about the last of these years.
ZERO, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)

AMSTERDAM, HAVANA, NOWHERE = "Europe/Amsterdam", "America/Havana", "Mars/Phobos"

# A skipped midnight, quarters of an hour, a day that never was, half an hour of summer, and the usual.
STRANGE = [
    *(HAVANA, "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Apia", "Australia/Lord_Howe"),
    *(AMSTERDAM, "America/New_York", "Asia/Kolkata"),
]

# Around a change of the clocks, and around the midnights and months before and after it.
NEAR = [
    -MICROSECOND,
    timedelta(0),
    *(halves * 30 * MINUTE for halves in range(-6, 7)),
    *(hours * HOUR for hours in (-25, -24, -13, 13, 24, 25)),
    *(days * DAY for days in (-31, -7, 7, 31)),
]


@pytest.mark.every_postgres
def test_every_zone_of_the_server_has_its_buckets(pipeline: Pipeline) -> None:
    """Around each change of clocks from 2000 to 2027 and at random, all equal date_trunc in the zone.

    In the sample it is some of the zones, among them those whose clocks do what others never did.
    """
    names = "SELECT name FROM pg_timezone_names WHERE name !~ '^posix' ORDER BY name"
    known = [name for (name,) in pipeline.source.execute(names)]
    zones = known if EVERYTHING else sorted({*known[::12], *STRANGE})
    organizations = {new_id(): zone for zone in zones}
    patient = pipeline.having(future_tolerance=max(END - datetime.now(UTC), DAY))
    read = read_for(patient, organizations)
    moments = near_changes(read.offsets) + at_random(zones)
    owners = {zone: key.bytes for key, zone in organizations.items()}
    jobs = pl.DataFrame(
        [(owners[zone], moment) for zone, moment in moments],
        schema={"organization_id": pl.Binary, "completed_at": pl.Datetime("us", "UTC")},
        orient="row",
    )

    computed = jobs.select(read.calendar.period_start(period).alias(period.value) for period in Period)
    said = pl.DataFrame(said_by_server(pipeline.source, moments), schema=computed.schema, orient="row")

    assert len(known) > 400
    assert {*STRANGE} <= {*zones} <= {*known}
    assert read.unknown == frozenset()
    assert len(moments) > (200_000 if EVERYTHING else 15_000)
    wrong = computed.with_row_index().join(said.with_row_index(), on=["index", *said.columns], how="anti")
    assert [(moments[row["index"]], row) for row in wrong.head(5).iter_rows(named=True)] == []


@pytest.mark.every_postgres
def test_each_change_is_found_at_its_second(pipeline: Pipeline) -> None:
    """The offset of the second before is another, and that of the first second is the one that is told."""
    read = read_for(pipeline, {new_id(): "America/St_Johns", new_id(): "Asia/Kathmandu"})

    newfoundland, kathmandu = (
        read.offsets.filter(pl.col("time_zone") == zone).sort("since").select("since", "offset_s").rows()
        for zone in ("America/St_Johns", "Asia/Kathmandu")
    )

    assert [(since, offset_s) for since, offset_s in newfoundland if since.year == 2010] == [
        (datetime(2010, 3, 14, 3, 31, tzinfo=UTC), -9_000),
        (datetime(2010, 11, 7, 2, 31, tzinfo=UTC), -12_600),
    ]
    assert kathmandu == [(ZERO - 40 * DAY, 20_700)]


@pytest.mark.every_postgres
def test_a_zone_that_nobody_knows_concerns_its_organization_alone(pipeline: Pipeline) -> None:
    """It is named, its neighbours have their calendars, and the snapshot can be read on."""
    unknown = [NOWHERE, " Europe/Amsterdam", "MSK", "Europe/Atlantis", "'; --", "x" * 300, "\N{SNOWMAN}"]
    strange = {new_id(): zone for zone in unknown}
    neighbours = {
        new_id(): zone for zone in (AMSTERDAM, "europe/amsterdam", "UTC", "Etc/UTC", "GMT", None, "")
    }

    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        read = read_calendar(snapshot, strange | neighbours, pipeline.settings)
        still_there = snapshot.organizations()

    assert still_there.is_empty()
    assert read.unknown == strange.keys()
    assert [read.zone_of(key) for key in neighbours] == [zone or "UTC" for zone in neighbours.values()]
    summer = datetime(2024, 6, 30, 22, 30, tzinfo=UTC)
    assert days(read, [*neighbours, *strange], summer) == [
        *[datetime(2024, 6, 30, 22, tzinfo=UTC)] * 2,
        *[datetime(2024, 6, 30, tzinfo=UTC)] * (len(neighbours) - 2 + len(strange)),
    ]


@pytest.mark.parametrize("server_zone", ["America/New_York", "Asia/Kolkata"])
def test_the_zone_of_the_server_is_irrelevant(server_zone: str, pipeline: Pipeline) -> None:
    """Whatever zone sessions begin in, the same offsets come."""
    organizations = {new_id(): zone for zone in (AMSTERDAM, HAVANA, "Australia/Lord_Howe")}
    before = read_for(pipeline, organizations)
    name = pipeline.source.info.dbname

    pipeline.source.execute(f"ALTER DATABASE {name} SET TimeZone = '{server_zone}'")
    after = read_for(pipeline, organizations)

    order = ["time_zone", "since"]
    assert after.offsets.sort(order).equals(before.offsets.sort(order))


def test_nothing_is_asked_when_all_live_in_utc(pipeline: Pipeline) -> None:
    """Most sources pay nothing for zones."""
    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        read = read_calendar(snapshot, {new_id(): "UTC", new_id(): None}, pipeline.settings)
        nobody = read_calendar(snapshot, {}, pipeline.settings)
        asked = snapshot.rows_of("SELECT current_setting('execmetrics.time_zones', true) AS zones")

    assert asked["zones"].item() is None
    assert read.offsets["time_zone"].to_list() == nobody.offsets["time_zone"].to_list() == ["UTC"]


def test_any_future_has_summers_when_any_is_believed(pipeline: Pipeline) -> None:
    """Without a tolerance, clocks go forward and back for a hundred years; the last offset is a winter's."""
    key = new_id()
    read = read_for(pipeline.having(future_tolerance=None), {key: AMSTERDAM})

    summer, winter = datetime(2099, 6, 30, 22, 30, tzinfo=UTC), datetime(9999, 12, 30, 23, 30, tzinfo=UTC)

    assert days(read, [key], summer) == [datetime(2099, 6, 30, 22, tzinfo=UTC)]
    assert days(read, [key], winter) == [datetime(9999, 12, 30, 23, tzinfo=UTC)]


def test_history_can_begin_with_the_calendar(pipeline: Pipeline) -> None:
    """Completions may be believed from year 1 on, when clocks showed solar time."""
    key = new_id()
    patient = pipeline.having(earliest_completion=datetime(1, 1, 1, tzinfo=UTC).date())

    read = read_for(patient, {key: "Asia/Kathmandu"})

    assert days(read, [key], datetime(1900, 1, 1, 20, tzinfo=UTC)) == [
        datetime(1900, 1, 1, 18, 18, 44, tzinfo=UTC)
    ]


def test_a_fingerprint_is_of_what_was_published(pipeline: Pipeline) -> None:
    """Other names, other beginnings and rules to come leave it alone; a changed past does not."""
    here, renamed, elsewhere = new_id(), new_id(), new_id()
    read = read_for(pipeline, {here: AMSTERDAM, renamed: "europe/amsterdam", elsewhere: "Europe/Dublin"})
    moment = datetime(2025, 1, 15, tzinfo=UTC)
    since = pl.col("since")
    told = read.offsets
    first = since < ZERO

    def moved(which: pl.Expr, by: timedelta) -> ReadCalendar:
        return replace(
            read, offsets=told.with_columns(since=pl.when(which).then(since + by).otherwise(since))
        )

    later, begun = moved(since > moment + 9 * DAY, HOUR), moved(first, -DAY)
    shorter = replace(read, offsets=told.filter(since < moment + 9 * DAY))
    edited = moved(since.dt.year() == 2019, HOUR)
    tolerant = replace(later, tolerance=timedelta(days=365))

    print_of = read.fingerprint(here, moment)
    assert len(print_of) == 32
    assert [other.fingerprint(here, moment) for other in (later, shorter, begun)] == [print_of] * 3
    assert read.fingerprint(renamed, moment) == print_of
    assert edited.fingerprint(here, moment) != print_of
    assert tolerant.fingerprint(here, moment) != replace(read, tolerance=tolerant.tolerance).fingerprint(
        here, moment
    )
    assert read.fingerprint(elsewhere, moment) != print_of
    assert read.fingerprint(here, moment + 180 * DAY) != print_of


def test_an_organization_differs_when_its_clocks_do(pipeline: Pipeline) -> None:
    """After a move to another zone, and after the rules of its own were changed; not for its age."""
    moved, stayed = new_id(), new_id()
    read = read_for(pipeline, {moved: AMSTERDAM, stayed: HAVANA})
    published = datetime(2024, 8, 1, tzinfo=UTC)
    before = {key: progress(key, read.fingerprint(key, published), published) for key in (moved, stayed)}

    now = read_for(pipeline, {moved: "America/New_York", stayed: HAVANA})
    told = now.offsets
    other_rules = replace(now, offsets=told.with_columns(pl.col("since") + SECOND))

    assert [key for key in before if now.differs(key, before[key])] == [moved]
    assert [key for key in before if other_rules.differs(key, before[key])] == [moved, stayed]


def test_open_buckets_are_those_of_the_own_clocks(pipeline: Pipeline) -> None:
    """When data is complete through a moment, the bucket of each period that it falls into is still open."""
    key, neighbour = new_id(), new_id()
    read = read_for(pipeline, {key: AMSTERDAM, neighbour: None})
    moment = datetime(2024, 9, 30, 22, 30, tzinfo=UTC)

    rows = read.open_since({key: moment, neighbour: moment}).rows()

    assert sorted(rows) == sorted(
        (each.bytes, period, datetime.fromisoformat(f"{start}Z"))
        for each, starts in (
            (key, ("2024-09-30 22:00", "2024-09-30 22:00", "2024-09-29 22:00", "2024-09-30 22:00")),
            (neighbour, ("2024-09-30 22:00", "2024-09-30 00:00", "2024-09-30 00:00", "2024-09-01 00:00")),
        )
        for period, start in zip(Period, starts, strict=True)
    )
    assert read.open_since({}).is_empty()


def test_kept_offsets_are_those_that_were_told_last(pipeline: Pipeline) -> None:
    """A zone is replaced as a whole, others stay, and nothing is written twice."""
    amsterdam = read_for(pipeline, {new_id(): AMSTERDAM})
    havana = read_for(pipeline, {new_id(): HAVANA})
    wrong = amsterdam.offsets.with_columns(pl.col("since") + SECOND, pl.col("offset_s") + 1)

    keep_offsets(pipeline.analytics, replace(amsterdam, offsets=wrong))
    keep_offsets(pipeline.analytics, havana)
    keep_offsets(pipeline.analytics, amsterdam)
    written = versions(pipeline.analytics)
    keep_offsets(pipeline.analytics, amsterdam)
    keep_offsets(pipeline.analytics, havana)

    assert versions(pipeline.analytics) == written
    kept = {row[:3] for row in written}
    assert kept == set(amsterdam.offsets.rows()) | set(havana.offsets.rows())


def test_the_calendar_of_what_is_published_needs_no_source(pipeline: Pipeline) -> None:
    """From what was kept come the same buckets, also for organizations that lived in UTC all along."""
    here, nobody = new_id(), new_id()
    read = read_for(pipeline, {here: AMSTERDAM, nobody: None})
    before_any = find_calendar(pipeline.analytics)
    keep_offsets(pipeline.analytics, read)
    for key in (here, nobody):
        plant_watermark(pipeline.analytics, key, key, 1, read.zone_of(key))

    found = find_calendar(pipeline.analytics)
    offsets = pl.DataFrame(
        pipeline.select("SELECT time_zone, since, offset_s FROM analytics.time_zone_offsets"),
        schema=OFFSET_COLUMNS,
        orient="row",
    )
    again = calendar_in(offsets, found.time_zones)

    moment = datetime(2024, 9, 30, 22, 30, tzinfo=UTC)
    expected = [datetime(2024, 9, 30, 22, tzinfo=UTC), datetime(2024, 9, 30, tzinfo=UTC)]
    assert before_any.time_zones == {}
    assert found.time_zones == {here: AMSTERDAM, nobody: "UTC"}
    assert days(found, [here, nobody], moment) == expected
    assert days(again, [here, nobody], moment) == expected
    assert found.fingerprint(here, moment) == replace(read, tolerance=timedelta(0)).fingerprint(here, moment)


@pytest.mark.every_postgres
def test_the_oracles_agree_on_local_time(source: Connection) -> None:
    """Python's zones and the server's give the same cells, where midnight is skipped or comes twice too."""
    zones, planted = {}, []
    for zone in ("UTC", HAVANA, "Asia/Kathmandu", "Australia/Lord_Howe", ""):
        tenant = plant_tenant(source, zone or "Nowhere")
        live_in(source, tenant, zone)
        zones[tenant.organization] = zone or "UTC"
        for change in (datetime(2024, 3, 10, 5, tzinfo=UTC), datetime(2024, 11, 3, 5, tzinfo=UTC)):
            times = [(at - MINUTE, at) for at in (change + n * 15 * MINUTE for n in range(-24, 24))]
            jobs = [{"started_at": began, "completed_at": at, "client_id": None} for began, at in times]
            plant_jobs(source, tenant, jobs)
            like = (tenant.organization, tenant.workflows[0], None, "USER", "COMPLETED")
            planted += [Job(*like, *each) for each in times]

    assert differences(cells_by_hand(planted, zones), cells_by_sql(source)) == []


def read_for(pipeline: Pipeline, time_zones: dict[UUID, str | None]) -> ReadCalendar:
    """The calendar of organizations that live in these zones."""
    with open_source(pipeline.databases.source_url, pipeline.settings) as snapshot:
        return read_calendar(snapshot, time_zones, pipeline.settings)


def days(read: ReadCalendar, keys: Sequence[UUID], moment: datetime) -> list[datetime]:
    """In which day each organization has the moment."""
    jobs = pl.DataFrame(
        {"organization_id": [key.bytes for key in keys], "completed_at": [moment] * len(keys)},
        schema_overrides={"completed_at": pl.Datetime("us", "UTC")},
    )
    return jobs.select(read.calendar.period_start(Period.DAY)).to_series().to_list()


def near_changes(offsets: pl.DataFrame) -> list[tuple[str, datetime]]:
    """Moments near each change of clocks that jobs may meet."""
    changes = offsets.filter(pl.col("since").is_between(ZERO, END)).select("time_zone", "since")
    return [(zone, max(since + near, ZERO)) for zone, since in changes.iter_rows() for near in NEAR]


def at_random(zones: Sequence[str]) -> list[tuple[str, datetime]]:
    """Some moments of each zone, the same in each run."""
    random = Random(2024)
    seconds = int((END - ZERO).total_seconds())
    return [(zone, ZERO + random.randrange(seconds) * SECOND) for zone in zones for _ in range(20)]


def said_by_server(source: Connection, moments: Sequence[tuple[str, datetime]]) -> list[tuple[datetime, ...]]:
    """What date_trunc says of each moment in its zone."""
    source.execute("SET TimeZone = 'UTC'")
    source.execute("CREATE TEMP TABLE moments (number integer, zone text, moment timestamptz)")
    with source.cursor().copy("COPY moments FROM STDIN") as copy:
        for number, (zone, moment) in enumerate(moments):
            copy.write_row((number, zone, moment))
    return source.execute(
        "SELECT date_trunc('hour', moment, 'UTC'), date_trunc('day', moment, zone),"
        " date_trunc('week', moment, zone), date_trunc('month', moment, zone)"
        " FROM moments ORDER BY number"
    ).fetchall()


def progress(key: UUID, zone_offsets: str, published: datetime) -> Watermark:
    """An organization that was published with these rules."""
    nothing = ("checkpoint", "rebuilding_version", "rebuilt_before", "run_id")
    times = ("swept_at", "extracted_at", "complete_through")
    return Watermark(
        key,
        **dict.fromkeys(nothing),
        **dict.fromkeys(times, published),
        facts_table_id=key,
        published_version=1,
        definition_version=1,
        time_zone="",
        zone_offsets=zone_offsets,
        is_guarded=False,
    )


def versions(analytics: Connection) -> set[tuple]:
    """The kept offsets, and which version of each row is stored."""
    return set(
        analytics.execute(
            "SELECT time_zone, since, offset_s, xmin::text FROM analytics.time_zone_offsets"
        ).fetchall()
    )
