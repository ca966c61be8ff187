"""A client that has an answer already gets 304, until something else is published for that tenant."""

from typing import Any

import pytest

from pipelines.extract.request import CompletedIn
from pipelines.postgres.connections import Run
from pipelines.publish.recompute import repair_range
from pipelines.state.lock import refresh_lock
from pipelines.subjects.jobs import JOBS
from tests.postgres.api.conftest import QUESTIONS, RANGE, Api
from tests.support.planting import DAY, NOON, Tenant


def asked_again(api: Api, question: str, tag: str, **parameters: Any) -> Any:
    """The answer to somebody who has one with this tag."""
    return api.ask(api.tenants[0], question, **parameters, headers={"If-None-Match": tag})


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_answer_is_not_sent_twice(shared: Api, question: str, form: str) -> None:
    """With its tag the same question is answered by 304: no body, the same tag, the same rules."""
    asked = QUESTIONS[question] | {"format": form}
    first = shared.ask(shared.tenants[0], question, **asked)

    again = asked_again(shared, question, first.headers["ETag"], **asked)

    assert (again.status_code, again.content) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert again.headers[name] == first.headers[name]
    assert first.headers["Cache-Control"] == "private, must-revalidate"
    assert first.headers["Vary"] == "Authorization, Accept"


@pytest.mark.parametrize("written", ['"x", {tag}', "{strong}", ' {tag} , "y"'])
def test_a_tag_is_found_however_it_is_written(shared: Api, written: str) -> None:
    """Among others, and with or without the mark of a weak one, which a proxy may take off."""
    tag = shared.ask(shared.tenants[0], "clients", **RANGE).headers["ETag"]

    again = asked_again(shared, "clients", written.format(tag=tag, strong=tag.removeprefix("W/")), **RANGE)

    assert again.status_code == 304


def test_a_tag_is_for_one_question_of_one_tenant(shared: Api) -> None:
    """Another range, form, path or tenant has another answer, and so another tag."""
    mine, neighbour, _ = shared.tenants
    later = RANGE | {"until": "2024-02-02"}
    answers = [
        shared.ask(mine, "summary", **RANGE),
        shared.ask(mine, "summary", **later),
        shared.ask(mine, "summary", **RANGE, format="csv"),
        shared.ask(mine, "summary", **RANGE, headers={"Accept": "text/csv"}),
        shared.ask(mine, "workflows", **RANGE),
        shared.ask(neighbour, "summary", **RANGE),
    ]

    assert len({answer.headers["ETag"] for answer in answers}) == len(answers)


def test_a_tag_that_is_known_costs_no_query(shared: Api, read: list[str]) -> None:
    """Completeness is read, and nothing else."""
    tag = shared.ask(shared.tenants[0], "summary", **RANGE).headers["ETag"]
    read.clear()

    asked_again(shared, "summary", tag, **RANGE)

    assert read == ["completeness"]


def test_what_is_published_or_rebuilt_changes_the_tag(own: Api) -> None:
    """After the next refresh the old tag is worth nothing, and the new figures are told.

    So it is when cells of another definition are computed anew while nothing is published.
    """
    first = own.ask(own.tenants[0], "summary", **RANGE)
    own.pipeline.plant_job(own.tenants[0])
    planted = asked_again(own, "summary", first.headers["ETag"], **RANGE)
    own.pipeline.refresh()
    refreshed = asked_again(own, "summary", first.headers["ETag"], **RANGE)
    own.pipeline.analytics.execute(
        "UPDATE analytics.metric_definitions SET definition = 'another' WHERE definition_version = 1"
    )
    redefined = asked_again(own, "summary", refreshed.headers["ETag"], **RANGE)
    own.pipeline.rebuild()

    rebuilt = asked_again(own, "summary", refreshed.headers["ETag"], **RANGE)

    assert [each.status_code for each in (planted, refreshed, redefined, rebuilt)] == [304, 200, 304, 200]
    assert refreshed.headers["ETag"] != first.headers["ETag"]
    assert refreshed.json()["total_executions"] == first.json()["total_executions"] + 1


def test_a_repair_changes_the_tag(own: Api) -> None:
    """What somebody else wrote is told until it is repaired; after that nobody is told to keep it."""
    tenant, neighbour, _ = own.tenants
    others = own.ask(neighbour, "summary", **RANGE).headers["ETag"]
    own.pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = max_duration_ms + 1"
        " WHERE organization_id = %s",
        [tenant.organization],
    )
    wrong = own.ask(tenant, "summary", **RANGE)
    repair(own, tenant)
    first = asked_again(own, "summary", wrong.headers["ETag"], **RANGE)
    repair(own, tenant)

    again = asked_again(own, "summary", first.headers["ETag"], **RANGE)

    assert first.status_code == 200
    assert first.json()["max_duration_ms"] == wrong.json()["max_duration_ms"] - 1
    assert again.status_code == 304, "nothing was left to be repaired"
    unmoved = own.ask(neighbour, "summary", **RANGE, headers={"If-None-Match": others})
    assert unmoved.status_code == 304


def test_retention_changes_the_tag(own: Api) -> None:
    """Hours that are kept no longer are told no longer; where none is gone, nothing is new."""
    hours, kept = RANGE | {"period": "hour"}, RANGE | {"period": "hour", "since": "2024-02-01"}
    first, first_kept = (own.ask(own.tenants[0], "metrics", **asked) for asked in (hours, kept))
    keeping = own.pipeline.having(keep_hours=DAY)
    keeping.retain(now=NOON + 2 * DAY)

    gone = asked_again(own, "metrics", first.headers["ETag"], **hours)
    fewer = asked_again(own, "metrics", first_kept.headers["ETag"], **kept)
    keeping.retain(now=NOON + 2 * DAY)
    again = asked_again(own, "metrics", fewer.headers["ETag"], **kept)

    assert gone.status_code == 422
    assert "hours that began before 2024-02-01T00:00:00" in gone.json()["detail"]
    assert fewer.status_code == 200
    assert 0 < len(fewer.json()["rows"]) < len(first.json()["rows"])
    assert again.status_code == 304


def test_definitions_have_a_tag_too(shared: Api) -> None:
    """They change with the version and the plan alone."""
    headers = dict(shared.ask(shared.tenants[0], "completeness").request.headers)
    first = shared.client.get("/v1/definitions", headers=headers)

    again = shared.client.get("/v1/definitions", headers=headers | {"If-None-Match": first.headers["ETag"]})

    assert first.status_code == 200
    assert (again.status_code, again.content) == (304, b"")


def repair(api: Api, tenant: Tenant) -> None:
    """Make a tenant's cells what the facts say."""
    everything = CompletedIn(NOON - 9 * DAY, NOON + 9 * DAY)
    run = Run(api.pipeline.databases, api.settings)
    with refresh_lock(run):
        repair_range(run, JOBS, [tenant.organization], everything)
