"""Access to the page, and its words when there is nothing to see or the figures cannot be had."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import HOSPITAL, Service, token_of
from tests.support.chromium import Watched, figure
from tests.support.planting import new_id

RANGE = "?range=custom&from=2015-05-01&to=2015-05-31"

NOTHING = "\u2013"

# What the browser itself says of an answer that the test made fail.
REFUSED = "error: Failed to load resource"


def test_a_token_leaves_the_address_at_once(seen: Watched, service: Service) -> None:
    """It came in the fragment, which no server sees; it stays in the tab, and a reload needs no link."""
    token = service.token

    page = seen.open(RANGE, token)

    assert page.url == f"{service.address}/{RANGE}"
    assert page.evaluate("Object.values(sessionStorage)") == [token]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    seen.settled()
    assert figure(page, "total_executions") > 100
    expect(page.locator("#organization")).to_have_text("hospital 181")
    expect(page).to_have_title("hospital 181 · execution metrics")


def test_a_token_is_pasted(seen: Watched, service: Service) -> None:
    """Without one the page asks for it in words; what is no token is told; signing out forgets it."""
    page = seen.open(RANGE)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#dashboard")).to_be_hidden()

    sign_in(seen, "sesame")
    expect(page.get_by_role("alert")).to_have_text("That is not a token of this service.")
    sign_in(seen, f" Bearer {service.token} ")

    assert figure(page, "total_executions") > 100
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(
    ("organization", "options", "said"),
    [
        (UUID(HOSPITAL), {"secret": "somebody else's, and as long as ours is"}, "token"),
        (new_id(), {}, "organization"),
        (UUID(HOSPITAL), {"valid_for": timedelta(seconds=-1)}, "The token has expired."),
    ],
)
def test_a_refusal_is_told_in_words(
    seen: Watched, organization: UUID, options: dict[str, Any], said: str
) -> None:
    """A token that the server does not believe, or of an organization that it does not know.

    That a token has ended the page can read itself, and does not send it.
    """
    page = seen.open(RANGE, token_of(organization, **options))

    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.locator("#dashboard")).to_be_hidden()
    if "valid_for" not in options:
        assert page.evaluate("sessionStorage.length") == 0
        forgive(seen, REFUSED)


def test_a_tenant_sees_its_own_page(seen: Watched, service: Service) -> None:
    """Of two in one tab the second replaces the first wholly, though both were published at once."""
    page = seen.open("?range=7d", token_of(service.fresh.organization))
    assert figure(page, "total_executions") > 0
    theirs = token_of(service.idle.organization)

    page.evaluate("token => { location.hash = `token=${token}` }", theirs)

    expect(page.locator("#organization")).to_have_text("Idle")
    seen.settled()
    assert figure(page, "total_executions") == 0
    assert page.locator("#workflow option").all_inner_texts() == [
        "All workflows",
        "Idle workflow 1",
        "Idle workflow 2",
    ]
    expect(page.locator("#clients tbody tr")).to_have_count(0)
    assert "token" not in page.url


def test_who_comes_next_finds_nothing_of_who_left(seen: Watched, service: Service) -> None:
    """Neither names to choose from nor the filters, which would only be refused."""
    page = seen.open(RANGE, service.token)
    page.locator("#clients .choice").first.click()
    seen.settled()
    page.get_by_role("button", name="Sign out").click()
    assert page.locator("#workflow option").all_inner_texts() == ["All workflows"]

    sign_in(seen, token_of(service.idle.organization))

    expect(page.locator("#organization")).to_have_text("Idle")
    assert page.url == f"{service.address}/{RANGE}"
    assert page.locator("#workflow option").all_inner_texts()[1:] == ["Idle workflow 1", "Idle workflow 2"]


def test_signing_out_is_for_good(seen: Watched, service: Service) -> None:
    """Also while the first answers are under way: what arrives then is nobody's."""
    held: list[Route] = []
    seen.page.route("**/completeness?*", lambda route: held.append(route))
    seen.page.goto(f"{service.address}/{RANGE}#token={service.token}")
    expect(seen.page.get_by_role("status")).to_have_text("Loading …")

    seen.page.get_by_role("button", name="Sign out").click()
    for route in held:
        route.continue_()
    seen.page.wait_for_load_state("networkidle")

    expect(seen.page.get_by_label("Token")).to_be_visible()
    expect(seen.page.locator("#organization")).to_have_text("Execution metrics")
    expect(seen.page.locator("#dashboard")).to_be_hidden()


@pytest.mark.parametrize(
    "nonsense",
    [
        "__proto__=1",
        *(
            pytest.param(nonsense, marks=pytest.mark.only_in_everything)
            for nonsense in ("initiator=each", "workflow=", "period=year")
        ),
    ],
)
def test_what_an_address_cannot_mean_is_as_if_it_were_not_there(
    seen: Watched, service: Service, nonsense: str
) -> None:
    """The page shows what it does without."""
    page = seen.open(RANGE, service.token)
    plain = figure(page, "total_executions")

    page = seen.open(f"{RANGE}&{nonsense}", service.token)

    assert figure(page, "total_executions") == plain
    expect(page.locator("#clear")).to_be_hidden()


def test_an_empty_range_says_where_there_is_something(seen: Watched, service: Service) -> None:
    """The last 30 days are empty for a trace of old; one press shows its last month."""
    page = seen.open("", service.token)

    notice = page.locator("#notice")
    expect(notice).to_contain_text("No job completed from")
    expect(notice).to_contain_text("The last ones completed in Nov 2015.")
    expect(page.locator("#executions")).to_contain_text("No job completed in this range.")
    notice.get_by_role("button", name="Show Nov 2015").click()
    seen.settled()
    assert page.url == f"{service.address}/?range=custom&from=2015-11-01&to=2015-11-30"
    assert figure(page, "total_executions") > 0
    expect(notice).to_be_empty()


def test_a_tenant_without_jobs_is_told_so(seen: Watched, service: Service) -> None:
    """Nothing is broken, and nothing is offered that is not there."""
    page = seen.open("", token_of(service.idle.organization))

    expect(page.locator("#notice")).to_contain_text("None ever did.")
    assert figure(page, "total_executions") == 0
    expect(page.locator("#tile-median_duration_ms .figure")).to_have_text(NOTHING)
    expect(page.locator("#hours")).to_contain_text("No job completed in this range.")


def test_a_part_that_fails_leaves_the_others(seen: Watched, service: Service) -> None:
    """Its sentence stands in its place, and a press tries again."""
    page = seen.page
    page.route("**/clients?*", lambda route: fail(route, 503, "The metrics cannot be read now."))

    seen.open(RANGE, service.token)

    clients = page.locator("#clients")
    expect(clients.get_by_role("alert")).to_contain_text("Not loaded. The metrics cannot be read now.")
    assert figure(page, "total_executions") > 100
    page.unroute("**/clients?*")
    clients.get_by_role("button", name="Try again").click()
    expect(clients.locator("tbody tr").first).to_be_visible()
    forgive(seen, REFUSED)


def test_a_token_that_ends_meanwhile_is_asked_for_again(seen: Watched, service: Service) -> None:
    """The next question is refused, and the page says so instead of showing old figures."""
    page = seen.open(RANGE, service.token)
    page.route("**/summary?*", lambda route: fail(route, 401, "The token is not accepted."))

    page.locator("#initiator").select_option("PRN")

    expect(page.get_by_role("alert")).to_have_text("The token is not accepted.")
    expect(page.locator("#dashboard")).to_be_hidden()
    page.unroute("**/summary?*")
    sign_in(seen, service.token)
    assert figure(page, "total_executions") > 0
    assert "initiator=PRN" in page.url
    forgive(seen, REFUSED)


def test_a_link_to_what_is_not_there_is_no_dead_end(seen: Watched, service: Service) -> None:
    """A workflow of somebody else, or one that is gone: the filter is told and cleared, not the token."""
    page = seen.open(f"{RANGE}&workflow={service.fresh.workflows[0]}", service.token)

    expect(page.locator("#tiles")).to_contain_text("Not to be had this way. No such workflow")
    page.get_by_role("button", name="Clear filters").click()
    seen.settled()
    assert figure(page, "total_executions") > 100
    forgive(seen, REFUSED)


def test_a_server_that_is_gone_is_told(seen: Watched, service: Service) -> None:
    """In words of ours, not the browser's."""
    page = seen.page
    page.route("**/completeness?*", lambda route: route.abort())

    seen.open(RANGE, service.token)

    expect(page.get_by_role("alert")).to_contain_text("The server could not be reached.")
    page.unroute("**/completeness?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#tile-total_executions")).to_be_visible()
    seen.settled()
    forgive(seen, REFUSED)


def test_what_is_not_stored_is_told(seen: Watched, service: Service) -> None:
    """Hours of two filters, days of three: the panel says so, the rest goes on, nothing is asked in vain."""
    jobs = service.source.jobs
    filters = f"&workflow={jobs[0].workflow}&client={jobs[0].client}"

    days = "?range=custom&from=2015-05-02&to=2015-05-31"

    page = seen.open(f"{days}&period=hour{filters}", service.token)

    expect(page.locator("#executions")).to_contain_text("Hours are not kept by workflow and client together.")
    expect(page.locator("#initiators")).to_contain_text("only whole weeks and months are kept")
    expect(page.locator("#workflows tbody tr").first).to_be_visible()
    assert figure(page, "total_executions") >= 0

    seen.open(f"{days}{filters}&initiator={jobs[0].initiator}", service.token)

    expect(page.locator("#tiles")).to_contain_text("only whole weeks and months are kept")


def test_loading_is_said_and_shown(seen: Watched, service: Service) -> None:
    """The old figures stay, paler, until the new ones are there; a screen reader hears both."""
    page = seen.open(RANGE, service.token)
    held: list[Route] = []
    page.route("**/summary?*", lambda route: held.append(route))

    page.locator("#initiator").select_option("PRN")

    expect(page.locator("#main")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("status")).to_have_text("Loading …")
    expect(page.locator("#tiles")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#tile-total_executions")).to_be_visible()
    for route in held:
        route.continue_()
    seen.settled()
    expect(page.get_by_role("status")).to_contain_text("executions.")
    expect(page.locator("#tiles")).not_to_have_attribute("aria-busy", "true")


def sign_in(seen: Watched, token: str) -> None:
    """Paste a token as a person would."""
    seen.page.get_by_label("Token").fill(token)
    seen.page.get_by_role("button", name="Show the figures").click()
    seen.settled()


def fail(route: Route, status: int, detail: str) -> None:
    """Answer with a problem."""
    body = json.dumps({"title": "Problem", "status": status, "detail": detail})
    route.fulfill(status=status, content_type="application/problem+json", body=body)


def forgive(seen: Watched, beginning: str) -> None:
    """Take from the faults what the test itself brought about, and there must be some of it."""
    kept = [fault for fault in seen.faults if not fault.startswith(beginning)]
    assert len(kept) < len(seen.faults)
    seen.faults[:] = kept
