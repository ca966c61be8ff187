"""The page shows what the source says, to the job, and another choice shows other figures."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import HOSTILE, Service
from tests.support.chromium import Watched, figure, texts
from tests.support.trace_figures import Figures, Job

FIRST, LAST = date(2015, 5, 1), date(2015, 6, 30)
RANGE = f"?range=custom&from={FIRST}&to={LAST}"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

NOTHING = "\u2013"

# So many timed jobs make a percentile that the page does not call one of a few.
ENOUGH = 20


def test_the_tiles_are_the_figures_of_the_source(seen: Watched, service: Service) -> None:
    """Counts to the job, percentiles within the one percent that the page admits to, with their n.

    61 days are compared with the 61 before them, and with nothing else.
    """
    expected = service.source.of(FIRST, LAST)
    before = service.source.of(FIRST - timedelta(days=61), FIRST - timedelta(days=1))
    moved = 100 * (expected.total - before.total) / before.total

    page = seen.open(RANGE, service.token)

    assert expected.total > 200
    assert expected.total != len(expected.timed)
    assert shown(page) == as_shown(expected)
    expect(page.locator("#tile-total_executions .figure")).to_have_text(f"{expected.total:,}")
    for percentile in ("median", "p95"):
        tile = page.locator(f"#tile-{percentile}_duration_ms")
        expect(tile).to_contain_text(f"n = {len(expected.timed)} · ≈ within 1 %")
    expect(page.locator("#tile-total_executions .change")).to_have_text(
        f"{'▲ up' if moved > 0 else '▼ down'} {abs(moved):.1f} % from {before.total:,}"
    )
    expect(page.locator("#range-said")).to_have_text(
        "1 May \u2013 30 Jun 2015 · 61 days in America/New_York · compared with 1 Mar \u2013 30 Apr 2015"
    )


@pytest.mark.parametrize(
    ("dimension", "of"),
    [
        ("workflow", lambda job: job.workflow),
        pytest.param("client", lambda job: job.client, marks=pytest.mark.only_in_everything),
        pytest.param("initiator", lambda job: job.initiator, marks=pytest.mark.only_in_everything),
    ],
)
def test_a_filter_changes_the_figures_and_the_address(
    seen: Watched, service: Service, dimension: str, of: Callable[[Job], str]
) -> None:
    """A reload and the way back restore what was there."""
    everything = service.source.of(FIRST, LAST)
    ((chosen, _many),) = Counter(map(of, everything.jobs)).most_common(1)
    expected = service.source.of(FIRST, LAST, lambda job: of(job) == chosen)

    page = seen.open(RANGE, service.token)
    page.locator(f"#{dimension}").select_option(chosen)
    seen.settled()

    assert 0 < expected.total < everything.total
    assert shown(page) == as_shown(expected)
    assert asked(page) == {
        "range": ["custom"],
        "from": [str(FIRST)],
        "to": [str(LAST)],
        dimension: [chosen],
    }
    page.reload()
    seen.settled()
    assert shown(page) == as_shown(expected)
    assert page.locator(f"#{dimension}").input_value() == chosen
    page.go_back()
    seen.settled()
    assert shown(page) == as_shown(everything)
    assert dimension not in asked(page)
    page.go_forward()
    seen.settled()
    assert shown(page) == as_shown(expected)


def test_two_filters_are_one_slice(seen: Watched, service: Service) -> None:
    """Pressing a name in a list filters by it; what is not stored of two is not offered, and is told."""
    everything = service.source.of(FIRST, LAST)
    (((workflow, initiator), _many),) = Counter(
        (job.workflow, job.initiator) for job in everything.jobs
    ).most_common(1)
    expected = service.source.of(
        FIRST, LAST, lambda job: (job.workflow, job.initiator) == (workflow, initiator)
    )

    page = seen.open(RANGE, service.token)
    page.locator("#workflows .choice", has_text=service.names("workflows")[workflow]).first.click()
    seen.settled()
    page.locator("#initiators").get_by_role("button", name=initiator, exact=True).click()
    seen.settled()

    assert shown(page) == as_shown(expected)
    expect(page.locator("#hours")).to_contain_text("Hours are not kept by workflow and initiator together")
    expect(page.locator("#period option[value=hour]")).to_be_disabled()
    expect(page.locator("#period option[value=hour]")).to_contain_text("not stored with these filters")
    expect(page.locator("#period option[value=day]")).to_be_enabled()
    page.get_by_role("button", name="Clear filters").click()
    seen.settled()
    assert shown(page) == as_shown(everything)


def test_days_in_the_table_are_those_of_the_source(seen: Watched, service: Service) -> None:
    """Exact medians, zeros where nothing completed, a mark where there are few; clocks change in between."""
    first, last = date(2015, 2, 1), date(2015, 3, 20)

    page = seen.open(f"?range=custom&from={first}&to={last}&tables=durations+executions", service.token)

    executions, durations = cells(page, "#executions"), cells(page, "#durations")
    assert len(executions) == len(durations) == 48
    expected = [
        service.source.of(day, day) for day in (first + timedelta(days=number) for number in range(48))
    ]
    assert [row[1:4] for row in executions] == [
        [str(each.total), str(each.total - each.failed), str(each.failed)] for each in expected
    ]
    assert [row[1:] for row in durations] == [
        [words(each, 0.5), words(each, 0.95), str(len(each.timed)), note(each)] for each in expected
    ]
    assert {"no jobs", "few: n < 20", ""} <= {row[-1] for row in durations}
    assert executions[0][0] == "Sun 1 Feb 2015"


def test_the_charts_say_in_words_what_they_show(seen: Watched, service: Service) -> None:
    """Every one is drawn, is an image with a name, and gives way to its table by a button, and back."""
    page = seen.open(RANGE, service.token)

    expected = service.source.of(FIRST, LAST)
    for panel in ("executions", "durations", "hours"):
        chart = page.locator(f"#{panel} .chart")
        expect(chart).to_have_role("img")
        assert chart.locator("svg path").count() > 20
    expect(page.locator("#executions .chart")).to_have_attribute(
        "aria-label", f"Executions by day: {expected.total} in all. The same figures are in the table."
    )
    for panel in ("executions", "durations", "hours"):
        button = page.locator(f"#{panel}").get_by_role("button", name="Table")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator(f"#{panel} table")).to_be_visible()
        expect(page.locator(f"#{panel} .chart")).to_have_count(0)
    assert asked(page)["tables"] == ["durations executions hours"]
    page.locator("#hours").get_by_role("button", name="Table").click()
    expect(page.locator("#hours .chart svg")).to_be_visible()


def test_a_chart_answers_the_pointer(seen: Watched, service: Service) -> None:
    """In text that the content security policy lets be: what the bar under it stands for."""
    ((day, _many),) = Counter(map(service.source.day_of, service.source.jobs)).most_common(1)
    expected = service.source.of(day, day)
    page = seen.open(f"?range=custom&from={day}&to={day}&period=day", service.token)

    said = {}
    for panel in ("executions", "durations", "hours"):
        page.locator(f"#{panel} .chart").hover(position={"x": 300, "y": 60})
        page.wait_for_function(
            "panel => document.querySelector(`#${panel} .chart`).textContent.match(/ 201\\d|to \\d\\d:00/)",
            arg=panel,
        )
        said[panel] = page.locator(f"#{panel} .chart").text_content()

    completed = expected.total - expected.failed
    assert f"{day:%a %-d %b %Y}{completed} completed{expected.failed} failed" in said["executions"]
    assert f"n = {len(expected.timed)}" in said["durations"]
    assert re.search(r"\w{3} \d\d:00 to \d\d:00", said["hours"])


def test_pages_are_put_together(seen: Watched, service: Service) -> None:
    """However small the API's pages are, the figures are the same; what is cut off is said to be."""
    page = seen.open(f"{RANGE}&tables=executions", service.token)
    whole = cells(page, "#executions")
    page.route("**/metrics?*", lambda route: in_pages_of(20, route))
    page.route("**/workflows?*", lambda route: in_pages_of(4, route))

    page.reload()
    seen.settled()

    assert cells(page, "#executions") == whole
    expect(page.locator("#workflows")).to_contain_text("Only the first 20 workflows are listed.")
    with page.expect_download() as download:
        page.locator("#workflows").get_by_role("button", name="CSV").click()
    with download.value.path().open(newline="", encoding="utf-8") as file:
        saved = [row["name"] for row in csv.DictReader(file)]
    assert len(saved) == len(service.names("workflows"))
    assert "name" not in saved


def test_breakdowns_are_those_of_the_source(seen: Watched, service: Service) -> None:
    """Each with its figures, the busiest first; so are clients and initiators, of those with jobs no other.

    The parts add up to the whole.
    """
    names, clients, whole = (
        service.names("workflows"),
        service.names("clients"),
        service.source.of(FIRST, LAST),
    )
    expected = grouped(whole, lambda job: names[job.workflow])

    page = seen.open(RANGE, service.token)
    page.get_by_role("button", name=re.compile("^Show all")).first.click()

    found = {row[0]: row for row in cells(page, "#workflows")}
    busy = {name: row for name, row in found.items() if row[1] != "0"}
    assert busy.keys() == expected.keys()
    assert found.keys() == set(names.values())
    for name, figures in expected.items():
        assert busy[name][1] == str(figures.total)
        assert busy[name][3] == rate(figures)
        few = "few " if 0 < len(figures.timed) < ENOUGH else ""
        assert busy[name][6] == f"{few}{len(figures.timed)}"
    totals = [int(row[1]) for row in cells(page, "#workflows")]
    assert totals == sorted(totals, reverse=True)
    assert page.locator("#workflows svg.trend").count() == len(expected)
    for panel, parts in (
        ("#clients", grouped(whole, lambda job: clients[job.client])),
        ("#initiators", grouped(whole, lambda job: job.initiator or "unknown")),
    ):
        found = {row[0]: row for row in cells(page, panel)}
        assert {name: (int(row[1]), row[2]) for name, row in found.items()} == {
            name: (figures.total, rate(figures)) for name, figures in parts.items()
        }
        assert sum(int(row[1]) for row in found.values()) == whole.total


def test_the_table_is_sorted_and_searched(seen: Watched, service: Service) -> None:
    """By keys too: `aria-sort` says how, the address keeps it, and a search that finds nothing says so."""
    page = seen.open(RANGE, service.token)
    head = page.locator("#workflows thead th")
    expect(head.nth(1)).to_have_attribute("aria-sort", "descending")

    page.get_by_role("button", name="Workflow", exact=True).press("Enter")

    names = texts(page, "#workflows tbody th")
    assert names == sorted(names, key=str.lower)
    expect(head.nth(0)).to_have_attribute("aria-sort", "ascending")
    expect(head.nth(1)).not_to_have_attribute("aria-sort", re.compile("."))
    page.locator("#search").fill("gtc 3")
    assert {name[:5] for name in texts(page, "#workflows tbody th")} == {"GTC 3"}
    assert (asked(page)["sort"], asked(page)["search"]) == (["name"], ["gtc 3"])
    page.reload()
    seen.settled()
    expect(page.locator("#search")).to_have_value("gtc 3")
    assert {name[:5] for name in texts(page, "#workflows tbody th")} == {"GTC 3"}
    page.locator("#search").fill("<b>")
    expect(page.locator("#workflows .below")).to_have_text("No workflow is called like “<b>”.")


def test_hours_of_the_week_go_by_local_clocks(seen: Watched, service: Service) -> None:
    """Also across the night in which they are put forward; executions and success rate."""
    first, last = date(2015, 2, 1), date(2015, 4, 30)
    expected: dict[tuple[str, int], list[Job]] = defaultdict(list)
    for job in service.source.of(first, last).jobs:
        local = job.completed_at.astimezone(service.source.zone)
        expected[WEEKDAYS[local.weekday()], local.hour].append(job)

    page = seen.open(f"?range=custom&from={first}&to={last}&tables=hours", service.token)

    totals = cells(page, "#hours")
    page.locator("label[for=heat-success]").click()
    seen.settled()
    rates = cells(page, "#hours")
    assert [row[0] for row in totals] == list(WEEKDAYS)
    for total, share in zip(totals, rates, strict=True):
        for hour in range(24):
            jobs = expected[total[0], hour]
            mark = "*" if 0 < len(jobs) < ENOUGH else ""
            assert total[hour + 1] == str(len(jobs))
            assert share[hour + 1] == (f"{rate(Figures(jobs))}{mark}" if jobs else NOTHING)


def test_whole_weeks_say_what_lies_outside(seen: Watched, service: Service) -> None:
    """A week that begins before the range is drawn whole, which the page says; the tiles are of the range."""
    first, last = date(2015, 5, 6), date(2015, 5, 20)

    page = seen.open(f"?range=custom&from={first}&to={last}&period=week&tables=executions", service.token)

    mondays = [date(2015, 5, 4), date(2015, 5, 11), date(2015, 5, 18)]
    weeks = [service.source.of(monday, monday + timedelta(days=6)) for monday in mondays]
    found = cells(page, "#executions")
    assert [row[0] for row in found] == [f"week from Mon {monday:%-d %b %Y}" for monday in mondays]
    assert [int(row[1]) for row in found] == [week.total for week in weeks]
    assert figure(page, "total_executions") == service.source.of(first, last).total
    expect(page.locator("#executions .note")).to_have_text(
        "Weeks are shown whole: the first begins on Mon 4 May 2015, before the range, and the last ends on"
        " Mon 25 May 2015, after it. The figures above count the range alone."
    )


def test_what_is_shown_can_be_saved(seen: Watched, service: Service) -> None:
    """As CSV, asked for with the token: the workflows of the table, and the days of the series."""
    page = seen.open(RANGE, service.token)
    saved = {}
    for panel in ("workflows", "executions"):
        with page.expect_download() as download:
            page.locator(f"#{panel}").get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename == f"{panel} {FIRST} to {LAST}.csv"
        with download.value.path().open(newline="", encoding="utf-8") as file:
            saved[panel] = list(csv.DictReader(file))

    whole = service.source.of(FIRST, LAST)
    by_workflow = grouped(whole, lambda job: job.workflow)
    totals = {row["workflow_id"]: int(row["total_executions"]) for row in saved["workflows"]}
    assert {id: total for id, total in totals.items() if total} == {
        id: figures.total for id, figures in by_workflow.items()
    }
    assert sum(int(row["failed_executions"]) for row in saved["executions"]) == whole.failed
    assert len(saved["executions"]) == len({service.source.day_of(job) for job in whole.jobs})


def test_names_are_text(seen: Watched, service: Service) -> None:
    """Whatever a workflow or client is called is shown as it is, runs nothing, and breaks no layout."""
    page = seen.open("?range=custom&from=2014-01-01&to=2015-12-31&search=onerror", service.token)

    assert texts(page, "#workflows tbody th") == [HOSTILE]
    assert HOSTILE in texts(page, "#clients tbody th")
    assert HOSTILE in texts(page, "#workflow option")
    assert page.locator("img").count() == 0
    page.locator("#workflows .choice").click()
    seen.settled()
    assert asked(page)["workflow"] == [service.hostile_workflow]


def shown(page: Page) -> list[object]:
    """The exact values of the tiles."""
    names = ("total_executions", "success_rate_pct", "median_duration_ms", "p95_duration_ms")
    return [figure(page, name) for name in names]


def as_shown(figures: Figures) -> list[object]:
    """The same from the source."""
    return [
        figures.total,
        pytest.approx(figures.success_rate_pct),
        pytest.approx(figures.percentile_ms(0.5), rel=0.01),
        pytest.approx(figures.percentile_ms(0.95), rel=0.01),
    ]


def asked(page: Page) -> dict[str, list[str]]:
    """The state that the address says."""
    return parse_qs(urlsplit(page.url).query)


def in_pages_of(lines: int, route: Route) -> None:
    """Ask the API for less at once."""
    route.continue_(url=route.request.url.replace("limit=1000", f"limit={lines}"))


def cells(page: Page, panel: str) -> list[list[str]]:
    """The rows of a panel's table, as they read."""
    rows = page.locator(f"{panel} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return [[" ".join(cell.split()) for cell in row] for row in rows]


def grouped(figures: Figures, of: Callable[[Job], str]) -> dict[str, Figures]:
    """The jobs by what they have in common."""
    found: dict[str, list[Job]] = defaultdict(list)
    for job in figures.jobs:
        found[of(job)].append(job)
    return {key: Figures(jobs) for key, jobs in found.items()}


def rate(figures: Figures) -> str:
    """A success rate as the page writes it."""
    if figures.failed in (0, figures.total):
        return f"{figures.success_rate_pct:.0f} %"
    return f"{figures.success_rate_pct:.1f} %"


def note(figures: Figures) -> str:
    """What the page remarks about a bucket."""
    if not figures.total:
        return "no jobs"
    if not figures.timed:
        return "none timed"
    return f"few: n < {ENOUGH}" if len(figures.timed) < ENOUGH else ""


def words(figures: Figures, share: float) -> str:
    """An exact percentile in words; the trace has whole minutes."""
    if not figures.timed:
        return NOTHING
    seconds = figures.percentile_ms(share) / 1000
    if not seconds:
        return "0 ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return written(round(seconds), 60, "min", "s")
    if seconds < 48 * 3600:
        return written(round(seconds / 60), 60, "h", "min")
    return written(round(seconds / 3600), 24, "d", "h")


def written(many: int, each: int, big: str, small: str) -> str:
    """Two units, the second only when there is some of it."""
    whole, rest = divmod(many, each)
    return f"{whole} {big} {rest} {small}" if rest else f"{whole} {big}"
