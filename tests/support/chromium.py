"""A Chromium of this machine, driven by Playwright, and what it may and may not do on our page."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import BrowserContext, Error, Page, expect, sync_playwright

# The first has no window of its own around a page, and takes a quarter of the processor's time.
CHROMIUMS = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
)

# No sandbox inside a container, and no word to anybody but our server.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
)

# Told in the console, so that one list holds whatever a page should not have done.
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("violated:", event.violatedDirective, event.blockedURI, event.sample));
"""

# Long enough for two cores that run everything else at the same time.
PATIENCE_MS = 20_000
VIEWPORT = {"width": 1280, "height": 900}


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def open(self, query: str = "", token: str | None = None) -> Page:
        """Go to the dashboard, as a link with a token does, and wait until its figures are there."""
        self.page.goto(f"{self.address}/{query}" + (f"#token={token}" if token else ""))
        return self.settled()

    def settled(self) -> Page:
        """Wait until nothing is loading."""
        self.page.wait_for_selector("#main[aria-busy=false]")
        return self.page


@contextmanager
def launched() -> Iterator[BrowserContext]:
    """A new profile of a browser, or a skip with the reason why there is none."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        pytest.skip("the page needs a Chromium to be tested in, and this machine has none")
    try:
        driver = sync_playwright().start()
    # It says why in no particular class.
    except Exception as absent:
        pytest.skip(f"Playwright's driver cannot start here; Debian's libatomic1 may be missing ({absent})")
    try:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))
    except Error as absent:
        driver.stop()
        pytest.skip(f"{program} cannot be started by Playwright: {absent.message.splitlines()[0]}")
    try:
        context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
        context.add_init_script(_TELL_VIOLATIONS)
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield context
    finally:
        browser.close()
        driver.stop()


@contextmanager
def watched(context: BrowserContext, address: str) -> Iterator[Watched]:
    """A tab of its own, whose token nobody else has, on which every fault is written down."""
    found = Watched(context.new_page(), address)
    try:
        found.page.on("pageerror", lambda error: found.faults.append(str(error)))
        found.page.on("console", lambda message: found.faults.append(f"{message.type}: {message.text}"))
        found.page.on("request", lambda request: _noticed(request.url, found))
        yield found
    finally:
        found.page.close()


def _noticed(url: str, found: Watched) -> None:
    if not url.startswith((found.address + "/", f"blob:{found.address}/")):
        found.elsewhere.append(url)


def figure(page: Page, measure: str) -> float:
    """The exact value behind a tile."""
    return float(page.locator(f"#tile-{measure} data").get_attribute("value"))


def texts(page: Page, selector: str) -> list[str]:
    """What the elements say, in order."""
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def evaluated(page: Page, module: str, expression: str, *arguments: object) -> object:
    """What an expression gives that may name everything a module of the page exports, and `given`."""
    return page.evaluate(
        f"""async (given) => {{
          const {{ {", ".join(exported(page, module))} }} = await import("/page/{module}.js");
          return {expression};
        }}""",
        json.loads(json.dumps(arguments)),
    )


def exported(page: Page, module: str) -> list[str]:
    """The names a module of the page exports."""
    return page.evaluate(f'async () => Object.keys(await import("/page/{module}.js"))')
