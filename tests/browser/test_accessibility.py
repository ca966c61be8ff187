"""Everybody can use the page: by keys, by ear, in the dark, and on a phone."""

import itertools
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import HOSTILE, Service
from tests.support.chromium import VIEWPORT, Watched, texts

RANGE = "?range=custom&from=2015-05-01&to=2015-06-30"
PHONE = {"width": 360, "height": 740}
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize(
    ("query", "theme", "viewport"),
    [
        pytest.param(RANGE, "light", VIEWPORT, marks=pytest.mark.only_in_everything),
        (RANGE, "dark", VIEWPORT),
        (f"{RANGE}&tables=durations+executions+hours", "light", PHONE),
        pytest.param(
            f"{RANGE}&initiator=PRN&heat=success&theme=dark",
            *("light", PHONE),
            marks=pytest.mark.only_in_everything,
        ),
        ("", "light", VIEWPORT),
    ],
)
def test_nothing_serious_is_wrong(
    seen: Watched, service: Service, query: str, theme: str, viewport: dict[str, int]
) -> None:
    """axe-core finds no serious fault: charts and tables, light and dark, wide and narrow, full and empty."""
    seen.page.set_viewport_size(viewport)
    seen.page.emulate_media(color_scheme=theme)

    page = seen.open(query, service.token)

    assert faults(page) == []


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.only_in_everything)])
def test_nothing_serious_is_wrong_before_signing_in(seen: Watched, theme: str) -> None:
    """Nor with the sentence that refuses a token."""
    seen.page.emulate_media(color_scheme=theme)
    page = seen.open()
    page.get_by_label("Token").fill("sesame")
    page.get_by_label("Token").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()

    assert faults(page) == []


def test_keys_reach_everything_in_order(seen: Watched, service: Service) -> None:
    """From the skip link through the filters to every panel, each time with a visible frame around it."""
    page = seen.open(RANGE, service.token)

    walked = list(walk(page, 120))

    # A date has a stop for each of its parts.
    order = [name for name, _ in itertools.groupby(name for name, _ in walked)]
    wanted = [
        "Skip to the figures",
        "theme",
        "sign-out",
        "range-custom",
        "from",
        "to",
        "period",
        "workflow",
        "client",
        "initiator",
        "executions:Table",
        "durations:Table",
        "search",
        "workflows:CSV",
        "Workflow",
        "clients:CSV",
        "heat-executions",
        "hours:Table",
        "initiators:CSV",
    ]
    assert [name for name in order if name in wanted] == wanted
    assert [name for name, is_framed in walked if not is_framed] == []


def test_the_page_has_an_outline_and_a_link_to_the_figures(seen: Watched, service: Service) -> None:
    """One main part, one first heading, a name for every section; the first key shows the link."""
    page = seen.open(RANGE, service.token)
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert texts(page, "h1") == ["hospital 181"]
    assert page.locator("section:visible").evaluate_all(
        "all => all.map(each => document.getElementById(each.getAttribute('aria-labelledby')).textContent)"
    ) == [
        "The range as a whole",
        "Executions over time",
        "Duration over time",
        "Workflows",
        "Clients",
        "Hours of the week",
        "Initiators",
        "About these figures",
    ]
    skip = page.get_by_role("link", name="Skip to the figures")
    expect(skip).not_to_be_in_viewport()

    page.keyboard.press("Tab")

    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_figure_says_what_it_means(seen: Watched, service: Service) -> None:
    """In the words of the dictionary, by a key, and Escape puts it away; all of them are at the end."""
    page = seen.open(RANGE, service.token)
    meaning = page.locator("#meaning")

    page.locator("#tile-median_duration_ms .term").press("Enter")

    expect(meaning).to_be_visible()
    expect(meaning).to_contain_text("Median duration")
    said = meaning.locator("p").inner_text()
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()
    page.get_by_text("What each figure means").click()
    assert said in texts(page, "#dictionary dd")
    assert "median_duration_ms" in texts(page, "#dictionary dt")


def test_the_theme_is_the_systems_unless_chosen(seen: Watched, service: Service) -> None:
    """The address says it only when somebody chose; charts change with it."""
    page = seen.page
    page.emulate_media(color_scheme="dark")
    seen.open(RANGE, service.token)
    dark = ground(page)
    assert "theme" not in page.url

    page.get_by_role("button", name="Switch to light colours").click()
    light = ground(page)

    assert page.url.endswith("&theme=light")
    assert light != dark
    page.reload()
    seen.settled()
    assert ground(page) == light
    page.get_by_role("button", name="Switch to dark colours").click()
    assert (ground(page), "theme" in page.url) == (dark, False)
    page.emulate_media(color_scheme="light")
    expect(page.get_by_role("button", name="Switch to dark colours")).to_be_visible()
    assert ground(page) == light


def test_no_width_is_too_narrow(seen: Watched, service: Service) -> None:
    """The page never scrolls sideways, hostile names included; tables do so by themselves."""
    page = seen.open(f"{RANGE}&tables=hours", service.token)
    page.get_by_role("button", name="Show all").first.click()
    assert HOSTILE in texts(page, "#workflows tbody th")

    for width in (1480, 1024, 768, 390, 360):
        page.set_viewport_size({"width": width, "height": 800})

        # Charts follow a moment later.
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    hours = page.locator("#hours .scrolling")
    assert hours.evaluate("node => node.scrollWidth > node.clientWidth")


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


def walk(page: Page, steps: int) -> Iterator[tuple[str, bool]]:
    """What has the focus after each Tab, and whether that is seen, until it leaves the page."""
    for _ in range(steps):
        page.keyboard.press("Tab")
        name, is_framed = page.evaluate(
            """() => {
              const node = document.activeElement;
              if (node === document.body) return [null, true];
              const panel = node.closest(".panel");
              const own = node.id || node.textContent.trim();
              const name = !node.id && panel && node.closest("header") ? `${panel.id}:${own}` : own;
              const framed = node.matches("[type=radio]") ? node.nextElementSibling : node;
              return [name, getComputedStyle(framed).outlineStyle === "solid"];
            }"""
        )
        if name is None:
            return
        yield name, is_framed


def ground(page: Page) -> str:
    """The colour behind everything."""
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
