"""Days begin where PostgreSQL begins them, ranges end where figures are complete, and the rest is shaded."""

import itertools
import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from pipelines.calendars.moments import WallClock
from pipelines.errors import RangeNotStored
from pipelines.query.ranges import Cover
from pipelines.subjects.rollup import Period
from tests.browser.conftest import ZONE, Service, token_of
from tests.browser.test_figures import cells
from tests.support.chromium import Watched, evaluated, texts, watched

Suiting = Callable[[int, list[str]], str]

# Clocks that change at midnight, by half an hour, by a day, on both halves of the earth, and not at all.
ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Amsterdam",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
)


@pytest.fixture(scope="module")
def definitions(service: Service) -> dict[str, Any]:
    """What the API says of the rollup plan."""
    question = urllib.request.Request(
        f"{service.address}/v1/definitions", headers={"Authorization": f"Bearer {service.token}"}
    )
    with urllib.request.urlopen(question, timeout=10) as answer:
        return dict(json.load(answer))


@pytest.fixture(scope="module")
def suiting(browser: BrowserContext, service: Service, definitions: dict[str, Any]) -> Iterator[Suiting]:
    """A function of the page: the period for so many days with these filters, under the real rollup plan."""
    with watched(browser, service.address) as seen:
        page = seen.open()
        choice = "automaticPeriod(given[0], { days: given[1] }, given[2])"
        yield lambda days, filters: evaluated(page, "ranges", choice, definitions, days, filters)


def test_days_begin_where_postgresql_begins_them(seen: Watched) -> None:
    """A midnight that clocks skip is when they are put forward; of one that comes twice it is the second."""
    page = seen.open()
    days = [date(2011, 1, 1) + timedelta(days=number) for number in range(731)]
    for zone in ZONES:
        # One island went to bed on the 29th and woke up on the 31st.
        real = [str(day) for day in days if (zone, day) != ("Pacific/Apia", date(2011, 12, 30))]
        expected = [midnight(day, zone) for day in real]

        found = evaluated(page, "days", "given[0].map((day) => midnight(day, given[1]))", real, zone)
        back = evaluated(page, "days", "given[0].map((each) => dayAt(each, given[1]))", expected, zone)

        assert [pair for pair in zip(real, found, expected, strict=True) if pair[1] != pair[2]] == [], zone
        assert back == real, zone


@pytest.mark.parametrize(
    ("asked", "first", "last", "before"),
    [
        ({"range": "7d"}, "2024-03-04", "2024-03-10", ("2024-02-26", "2024-03-03")),
        ({"range": "30d"}, "2024-02-10", "2024-03-10", ("2024-01-11", "2024-02-09")),
        ({"range": "this-month"}, "2024-03-01", "2024-03-10", ("2024-02-20", "2024-02-29")),
        ({"range": "last-month"}, "2024-02-01", "2024-02-29", ("2024-01-03", "2024-01-31")),
        (
            {"range": "custom", "from": "2023-12-30", "to": "2024-01-02"},
            "2023-12-30",
            "2024-01-02",
            ("2023-12-26", "2023-12-29"),
        ),
    ],
)
def test_ranges_end_with_the_last_day_that_is_complete(
    seen: Watched, asked: dict[str, str], first: str, last: str, before: tuple[str, str]
) -> None:
    """The day that is under way is left out, and as many days before are compared, whatever their hours."""
    complete_through = datetime(2024, 3, 11, 14, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000

    found = evaluated(
        seen.open(), "ranges", "rangeOf(given[0], given[1], given[2])", asked, complete_through, ZONE
    )

    assert (found["first"], found["last"], found["isComplete"]) == (first, last, True)
    assert (found["previous"]["first"], found["previous"]["last"]) == before
    assert found["until"] == midnight(str(date.fromisoformat(last) + timedelta(days=1)), ZONE)
    assert found["previous"]["until"] == found["since"] == midnight(first, ZONE)


def test_no_jobs_and_not_known_yet_are_different_things(seen: Watched, service: Service) -> None:
    """Before the stamp an hour without a row is zero, after it nobody knows, and the words say so."""
    today = datetime.now(UTC).date()
    custom = f"?range=custom&from={today - timedelta(days=1)}&to={today + timedelta(days=1)}&period=hour"

    page = seen.open(f"{custom}&tables=executions", token_of(service.fresh.organization))

    rows = cells(page, "#executions")
    said = [row[1] for row in rows]
    known = said[: said.index("not known yet")]
    assert len(rows) == 72
    assert set(said[len(known) :]) == {"not known yet"}
    assert {"0", "1"} == set(known)
    # The stamp lies in one hour, unless it is the very beginning of one.
    assert [row[0].endswith("(so far)") for row in rows].index(True) == len(known) - 1
    busy = [place for place, total in enumerate(known) if total == "1"]
    assert len(busy) > 5
    assert {later - earlier for earlier, later in itertools.pairwise(busy)} == {3}
    expect(page.locator("#executions .note")).to_contain_text("Complete through")
    expect(page.locator("#tile-total_executions .change")).to_have_text(
        "not compared: the range is not complete yet"
    )
    page.locator("#executions").get_by_role("button", name="Table").click()
    expect(page.locator("#executions .legend")).to_contain_text("not complete yet")
    assert shaded(page) > 0


def test_a_range_that_is_complete_has_no_shade(seen: Watched, service: Service) -> None:
    """Rolling ranges end at midnight, so nothing in them is unknown."""
    page = seen.open("?range=7d", token_of(service.fresh.organization))

    expect(page.locator("#executions .chart svg")).to_be_visible()
    assert "not complete yet" not in " ".join(texts(page, ".legend"))
    assert shaded(page) == 0
    expect(page.locator("#complete")).to_contain_text("Complete through")
    expect(page.locator("#complete time")).to_contain_text("UTC")


@pytest.mark.parametrize(
    ("days", "filters", "period"),
    [
        (1, [], "hour"),
        (3, ["client"], "hour"),
        (3, ["client", "workflow"], "day"),
        (4, [], "day"),
        (92, ["workflow", "initiator"], "day"),
        (30, ["workflow", "client", "initiator"], "week"),
        (93, [], "week"),
        (900, ["initiator"], "month"),
    ],
)
def test_a_period_is_chosen_that_suits_and_is_stored(
    suiting: Suiting, days: int, filters: list[str], period: str
) -> None:
    """Neither hundreds of bars nor a single one, and never one that the API would refuse."""
    assert suiting(days, filters) == period


def test_what_the_api_would_refuse_is_known(seen: Watched, definitions: dict[str, Any]) -> None:
    """Three filters want whole weeks and months, in whatever order; with two any day will do."""
    chance = Random(7)
    borders = [date(2026, 1, 1) + timedelta(days=number) for number in range(500)]
    likely = [day for day in borders if day.day == 1 or day.weekday() == 0]
    ranges = [sorted(chance.sample(days, 2)) for days in (borders, likely) for _ in range(200)]
    asked = [{"first": str(first), "end": str(end)} for first, end in ranges]
    known = "given[1].map((range) => isAddedUp(given[0], range, given[2]))"

    page = seen.open()
    three = evaluated(page, "ranges", known, definitions, asked, ["workflow", "client", "initiator"])
    two = evaluated(page, "ranges", known, definitions, asked, ["workflow", "client"])

    answered = [is_answered(first, end) for first, end in ranges]
    assert [each for each, a, b in zip(ranges, three, answered, strict=True) if a != b] == []
    assert 50 < sum(three) < 350
    assert set(two) == {True}


def is_answered(first: date, end: date) -> bool:
    """Whether the API answers for a range of UTC days of three dimensions."""
    since, until = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, end))
    try:
        return bool(Cover(WallClock(), [Period.WEEK, Period.MONTH]).of(since, until))
    except RangeNotStored:
        return False


def shaded(page: Page) -> int:
    """How many shapes of the chart have the colour of what is not known."""
    return page.evaluate(
        """() => {
          const wanted = document.createElement("i");
          wanted.className = "swatch shade";
          document.body.append(wanted);
          const colour = getComputedStyle(wanted).backgroundColor;
          wanted.remove();
          const shapes = [...document.querySelectorAll("#executions .chart svg path")];
          return shapes.filter((shape) => getComputedStyle(shape).fill === colour).length;
        }"""
    )


def midnight(day: str, zone: str) -> int:
    """The instant a local day begins at, in milliseconds, as `date_trunc` has it."""
    begins = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    first, second = (begins.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    # Where the clocks skip it, fold 0 is the later one: the moment they are put forward.
    chosen = first if first > second else second
    return round(chosen.timestamp() * 1000)
