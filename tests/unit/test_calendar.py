"""Where days, weeks and months begin, by offsets written down by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.calendars.calendar import OFFSET_COLUMNS, ZONE_COLUMNS, Calendar
from pipelines.compute.cells import NumberedRows
from pipelines.compute.chunks import bucket_sizes, in_buckets, parts
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import TOTAL, Period

HOUR, DAY, MICROSECOND = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
LOCAL = (Period.DAY, Period.WEEK, Period.MONTH)

Offsets = Sequence[tuple[datetime, float]]


def at(text: str) -> datetime:
    """An instant of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Since when which offset holds, in hours; the first one always did.
ZONES: dict[str, Offsets] = {
    "UTC": [(at("1970-01-01"), 0)],
    "Amsterdam": [
        *((at("2023-10-29 01:00"), 1), (at("2024-03-31 01:00"), 2)),
        *((at("2024-10-27 01:00"), 1), (at("2025-03-30 01:00"), 2)),
    ],
    # Forward and back at midnight: the day of spring begins at 01:00, that of autumn has two midnights.
    "Havana": [(at("2023-11-05 05:00"), -5), (at("2024-03-10 05:00"), -4), (at("2024-11-03 05:00"), -5)],
    # Back at a minute past midnight, to 23:01.
    "St Johns": [(at("2000-01-01"), -3.5), (at("2010-03-14 03:31"), -2.5), (at("2010-11-07 02:31"), -3.5)],
    # From one side of the date line to the other: there was no Friday the 30th.
    "Apia": [(at("2011-09-24 14:00"), -10), (at("2011-12-30 10:00"), 14), (at("2012-03-31 14:00"), 13)],
    "Lord Howe": [(at("2023-09-30 15:30"), 11), (at("2024-04-06 15:00"), 10.5), (at("2024-10-05 15:30"), 11)],
    "Kathmandu": [(at("1986-01-01"), 5.75)],
}


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2024-03-31 23:59:59.999999", "2024-03-31 00:00"),
        ("Amsterdam", "2024-03-30 22:59:59.999999", "2024-03-29 23:00"),
        ("Amsterdam", "2024-03-30 23:00", "2024-03-30 23:00"),
        ("Amsterdam", "2024-03-31 21:59:59.999999", "2024-03-30 23:00"),
        ("Amsterdam", "2024-03-31 22:00", "2024-03-31 22:00"),
        ("Havana", "2024-03-10 04:59:59.999999", "2024-03-09 05:00"),
        ("Havana", "2024-03-10 05:00", "2024-03-10 05:00"),
        ("Havana", "2024-11-03 03:59:59.999999", "2024-11-02 04:00"),
        ("Havana", "2024-11-03 04:00", "2024-11-03 05:00"),
        ("Havana", "2024-11-03 05:00", "2024-11-03 05:00"),
        ("St Johns", "2010-11-07 02:29:59.999999", "2010-11-06 02:30"),
        ("St Johns", "2010-11-07 02:30:59.999999", "2010-11-07 03:30"),
        ("St Johns", "2010-11-07 02:31", "2010-11-06 02:30"),
        ("St Johns", "2010-11-07 03:30", "2010-11-07 03:30"),
        ("Apia", "2011-12-30 09:59:59.999999", "2011-12-29 10:00"),
        ("Apia", "2011-12-30 10:00", "2011-12-30 10:00"),
        ("Kathmandu", "2024-02-29 18:14:59.999999", "2024-02-28 18:15"),
        ("Kathmandu", "2024-02-29 18:15", "2024-02-29 18:15"),
    ],
)
def test_a_day_begins_at_midnight_by_the_clocks(zone: str, moment: str, day: str) -> None:
    """What PostgreSQL's date_trunc says, also when a midnight is skipped or comes twice."""
    assert starts(zone, Period.DAY, [at(moment)]) == [at(day)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Amsterdam", "2024-03-30 23:00", 23),
        ("Amsterdam", "2024-06-30 22:00", 24),
        ("Amsterdam", "2024-10-26 22:00", 25),
        ("Havana", "2024-03-10 05:00", 23),
        ("Havana", "2024-11-02 04:00", 25),
        ("Lord Howe", "2024-04-06 13:00", 24.5),
        ("Lord Howe", "2024-10-05 13:30", 23.5),
        ("Apia", "2011-12-29 10:00", 24),
        ("Kathmandu", "2024-02-29 18:15", 24),
    ],
)
def test_a_day_is_as_long_as_its_clocks_make_it(zone: str, day: str, hours: float) -> None:
    """Spring takes an hour and autumn gives one, or half of it; who skips a day loses no hour of another."""
    assert ends(zone, Period.DAY, [at(day)]) == [at(day) + hours * HOUR]


def test_the_first_offset_holds_before_and_the_last_one_after() -> None:
    """Jobs beyond what was read are counted all the same."""
    moments = [at("1999-06-01 23:30"), at("2031-06-01 23:30")]

    assert starts("Amsterdam", Period.DAY, moments) == [at("1999-06-01 23:00"), at("2031-06-01 22:00")]


moments = st.one_of(
    st.sampled_from([begun for offsets in ZONES.values() for begun, _ in offsets]).flatmap(
        lambda begun: st.builds(
            lambda hours, after: begun + hours * HOUR / 4 + after,
            st.integers(-120, 120),
            st.sampled_from([timedelta(0), MICROSECOND, -MICROSECOND]),
        )
    ),
    st.timedeltas(timedelta(0), 30 * 365 * DAY).map(lambda after: at("2000-01-01") + after),
)
zones = st.sampled_from(sorted(ZONES))


@given(zone=zones, moment=moments)
@pytest.mark.parametrize("period", Period)
def test_buckets_follow_each_other_without_a_gap(period: Period, zone: str, moment: datetime) -> None:
    """A bucket is named after its start, which is in it, and ends where the next one begins."""
    few = [moment + hours * HOUR for hours in range(-30, 31)]
    ordered = sorted(set(starts(zone, period, few)))
    after = ends(zone, period, ordered)

    assert after[:-1] == ordered[1:]
    assert ordered[-1] < after[-1]
    assert starts(zone, period, [*ordered, *after]) == [*ordered, *after]


def test_organizations_share_a_frame_but_not_a_zone() -> None:
    """Each row goes by the clocks of its own organization; one that nobody placed lives in UTC."""
    rows = [(zone, at("2024-06-30 23:30")) for zone in (*ZONES, "nobody", *reversed(ZONES))]
    frame = jobs(rows)

    together = frame.select(CALENDAR.period_start(Period.MONTH)).to_series().to_list()

    assert together == [starts(zone, Period.MONTH, [moment])[0] for zone, moment in rows]
    assert together[len(ZONES)] == at("2024-06-01")


@pytest.mark.parametrize("period", Period)
def test_the_calendar_answers_wherever_expressions_do(period: Period) -> None:
    """Filters, groups and streams of many morsels say what a plain select says."""
    moments = [at("2024-03-09") + number * HOUR / 3 for number in range(15_000)]
    frame = jobs([(zone, moment) for moment in moments for zone in sorted(ZONES)])
    expected = frame.with_columns(CALENDAR.period_start(period))
    latest = expected["period_start"].max()

    lazy = frame.lazy()
    filtered = lazy.filter(CALENDAR.period_start(period) == latest).collect(engine="streaming")
    grouped = lazy.group_by("organization_id", CALENDAR.period_start(period)).len().collect()

    assert filtered.height == (expected["period_start"] == latest).sum() > 0
    order = ["organization_id", "period_start"]
    assert grouped.sort(order).equals(expected.group_by(order).len().sort(order))
    assert frame.clear().select(CALENDAR.period_start(period)).height == 0


@pytest.mark.parametrize("period", Period)
def test_parts_hold_every_job_of_their_buckets(period: Period) -> None:
    """Cut into portions and looked up again, no job is lost or comes twice, and no bucket is cut."""
    moments = [at("2024-02-25 10:07") + number * HOUR / 2 for number in range(2_000)]
    rows = [(zone, moment) for moment in moments for zone in ZONES]
    rows += [("Havana", at("2024-11-03 04:30")), ("Apia", at("2011-12-30 10:00"))]
    every = jobs(rows).with_row_index()

    sizes = bucket_sizes(every.lazy(), period, CALENDAR)
    portions = [in_buckets(every.lazy(), part, period, CALENDAR).collect() for part in parts(sizes, 500)]

    assert len(portions) > 5
    assert sorted(pl.concat(portions)["index"]) == list(range(len(rows)))
    named = [portion.select("organization_id", CALENDAR.period_start(period)) for portion in portions]
    there = [set(each.rows()) for each in named]
    assert sum(map(len, there)) == sizes.height == len(set.union(*there))


@pytest.mark.parametrize("zone", sorted(ZONES))
@pytest.mark.parametrize("period", Period)
def test_any_bucket_is_found_again_by_its_name(period: Period, zone: str) -> None:
    """The filter that comes first reaches every job of a bucket, at whatever edge of it."""
    first = at("2024-01-28 00:07")
    rows = [(zone, first + number * HOUR / 4) for number in range(3_500)]
    rows += [(zone, begun + number * HOUR / 4) for begun, _ in ZONES[zone] for number in range(-200, 200)]
    rows += [(zone, at("2024-09-30 22:00")), (zone, at("2024-10-31 22:59"))]
    every = jobs(sorted(set(rows))).with_columns(start=CALENDAR.period_start(period))
    sizes = every.group_by("organization_id", period_start="start").len()

    for size in sizes.sort("period_start").gather_every(97 if period is Period.HOUR else 1).iter_slices(1):
        assert in_buckets(every.lazy(), size, period, CALENDAR).collect().height == size["len"].item()


def test_numbered_jobs_know_their_buckets() -> None:
    """Those within cells are the jobs that the calendar puts there, of that organization alone."""
    facts = facts_of([("Amsterdam", at("2024-10-05 10:00")), ("UTC", at("2024-10-05 10:00"))])
    rows = [(zone, "month", at("2024-09-30 22:00")) for zone in (b"Amsterdam", b"UTC")]
    columns = {"organization_id": pl.Binary, "period": pl.String, "period_start": pl.Datetime("us", "UTC")}
    cells = pl.DataFrame(rows, schema=columns, orient="row")

    numbered = NumberedRows.of(facts, CALENDAR, JOBS, [Period.DAY, Period.MONTH])

    assert numbered.frame["month"].to_list() == [at("2024-09-30 22:00"), at("2024-10-01")]
    assert "week" not in numbered.frame.columns
    assert numbered.in_buckets([Period.MONTH], JOBS, cells).height == 1


def test_a_dirty_cell_has_the_least_weight_of_its_jobs() -> None:
    """With weights each cell has the least weight of its changes; without, there are only keys."""
    images = facts_of([("Amsterdam", at("2024-09-30 22:30")), ("Amsterdam", at("2024-10-01 10:00"))])
    weighed = images.with_columns(weight=pl.Series([3, 1]))

    plain = dirty_cells(images, {Period.MONTH: (TOTAL,)}, CALENDAR, JOBS)
    cells = dirty_cells(weighed, {Period.MONTH: (TOTAL,)}, CALENDAR, JOBS)
    hours = dirty_cells(weighed, {Period.HOUR: (TOTAL,)}, CALENDAR, JOBS)

    assert cells.drop("weight").equals(plain)
    assert cells.select("period_start", "weight").rows() == [(at("2024-09-30 22:00"), 1)]
    assert sorted(hours["weight"]) == [1, 3]


def test_hours_are_whole_where_all_clocks_show_the_same_minutes() -> None:
    """Elsewhere an hour of UTC lies across midnight; a zone in which nobody lives is no concern."""
    for names in ([], ["UTC", "Amsterdam", "Havana", "Apia"]):
        assert calendar(names).has_whole_hours
        assert Calendar(zone_frame(names), offset_frame(list(ZONES))).has_whole_hours
    for names in (["UTC", "Kathmandu"], ["Lord Howe"], ["St Johns"], list(ZONES)):
        assert not calendar(names).has_whole_hours


def test_a_zone_without_offsets_is_refused() -> None:
    """Nobody is taken for UTC by mistake."""
    with pytest.raises(ValueError, match="Kathmandu"):
        Calendar(zone_frame(["Kathmandu"]), offset_frame(["UTC", "Amsterdam"]))


def test_offsets_may_come_in_any_order() -> None:
    """The rows of a set have none."""
    moments = [at("2024-03-31 12:00") + number * DAY for number in range(300)]
    shuffled = Calendar(zone_frame(["Amsterdam"]), offset_frame(list(ZONES)).sort("offset_s"))

    said = jobs([("Amsterdam", moment) for moment in moments]).select(shuffled.period_start(Period.DAY))

    assert said["period_start"].to_list() == starts("Amsterdam", Period.DAY, moments)


def test_the_calendar_of_utc_truncates() -> None:
    """Without zones there is nothing to look up."""
    frame = jobs([("Amsterdam", at("2024-09-30 22:30"))])

    said = frame.select(Calendar.utc().period_start(period).alias(period.value) for period in Period)

    assert said.row(0) == (at("2024-09-30 22:00"), at("2024-09-30"), at("2024-09-30"), at("2024-09-01"))


def calendar(names: Sequence[str]) -> Calendar:
    """Of organizations that are called like their zones."""
    return Calendar(zone_frame(names), offset_frame(names))


def zone_frame(names: Sequence[str]) -> pl.DataFrame:
    """The time zone of each organization."""
    return pl.DataFrame([(name.encode(), name) for name in names], schema=ZONE_COLUMNS, orient="row")


def offset_frame(names: Sequence[str]) -> pl.DataFrame:
    """Which offset holds since when."""
    rows = [(name, begun, int(hours * 3600)) for name in names for begun, hours in ZONES[name]]
    return pl.DataFrame(rows, schema=OFFSET_COLUMNS, orient="row")


def jobs(rows: Sequence[tuple[str, datetime]]) -> pl.DataFrame:
    """Jobs of the organizations that live in these zones."""
    schema = {"zone": pl.String, "completed_at": pl.Datetime("us", "UTC")}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(organization_id=pl.col("zone").cast(pl.Binary))


def facts_of(rows: Sequence[tuple[str, datetime]]) -> pl.DataFrame:
    """The same as the facts keep them."""
    schema = schema_of(JOBS.fact.columns)
    whole = {name: b"x" for name, dtype in schema.items() if dtype == pl.Binary} | {"status": "COMPLETED"}
    filled = [
        whole | {"organization_id": zone.encode(), "completed_at": moment, "started_at": moment}
        for zone, moment in rows
    ]
    return pl.DataFrame(filled, schema=schema)


CALENDAR = calendar(list(ZONES))


def starts(zone: str, period: Period, moments: Sequence[datetime]) -> list[datetime]:
    """In which buckets the moments are."""
    frame = jobs([(zone, moment) for moment in moments])
    return frame.select(CALENDAR.period_start(period)).to_series().to_list()


def ends(zone: str, period: Period, buckets: Sequence[datetime]) -> list[datetime]:
    """Where the buckets after these begin."""
    frame = jobs([(zone, bucket) for bucket in buckets]).rename({"completed_at": "period_start"})
    return frame.select(CALENDAR.period_end(period)).to_series().to_list()
