"""What goes wrong is told in one shape, in our words, and leaves the next request alone."""

import json
import logging
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID

import pytest

from pipelines.errors import ExecutionMetricsError
from pipelines.query.pool import ReadingPool
from pipelines.settings import load_settings
from tests.postgres.api.conftest import (
    AUDIENCE,
    RANGE,
    SECRET,
    Api,
    TestClient,
    create_app,
    path_of,
    token_of,
    trusting,
)


def place(*parts: Any) -> str:
    """What an answer's `next` would be, of any parts."""
    return urlsafe_b64encode(json.dumps(parts).encode()).decode()


SOMEWHERE = "2024-01-31T00:00:00Z", str(UUID(int=1)), str(UUID(int=2))
NOT_UNDERSTOOD = [
    ("summary", RANGE | {"colour": "red"}, "colour: There is no such parameter."),
    ("clients", {}, "since: Field required. until: Field required."),
    ("clients", RANGE | {"client": "none"}, "client: There is no such parameter."),
    ("workflows", RANGE | {"workflow": str(UUID(int=1))}, "workflow: There is no such parameter."),
    ("initiators", RANGE | {"initiator": "USER"}, "initiator: There is no such parameter."),
    ("completeness", {"": "x"}, "There is no such parameter."),
    ("summary", {"since": "2024-01-01"}, "until: Field required."),
    ("summary", RANGE | {"since": "yesterday"}, "since: Input is neither a date nor an RFC 3339 time"),
    ("summary", RANGE | {"since": "2024-02-30"}, "since: Input is neither"),
    ("summary", RANGE | {"since": "1706659200"}, "since: Input is neither"),
    ("summary", RANGE | {"since": "2024-01-31T12:00"}, "since: Input is neither"),
    ("summary", RANGE | {"since": "0001-01-01T00:00:00+10:00"}, "since: Input is neither"),
    ("summary", RANGE | {"until": "9999-12-31"}, "until: Input is neither"),
    ("summary", {"since": "2024-02-01", "until": "2024-01-01"}, "the earlier one first"),
    ("workflows", {"since": "2024-02-01", "until": "2024-02-01"}, "the earlier one first"),
    ("summary", RANGE | {"until": "2024-01-31T00:00:00Z"}, "the earlier one first"),
    ("summary", RANGE | {"since": "2024-01-31T12:30:00Z"}, "whole UTC hours"),
    ("summary", RANGE | {"since": "2024-01-31T12:30:00"}, "whole UTC hours"),
    ("summary", RANGE | {"workflow": "mine"}, "workflow: Input is not the id of a workflow."),
    ("summary", RANGE | {"workflow": f"{0:032x}"}, "workflow: Input is not the id of a workflow."),
    ("summary", RANGE | {"workflow": "each"}, "workflow: Input is not the id of a workflow."),
    ("summary", RANGE | {"client": "each"}, "client: Input is neither none nor the id of a client."),
    ("summary", RANGE | {"client": "f" * 32}, "client: Input is neither none nor the id of a client."),
    ("summary", RANGE | {"initiator": "each"}, "initiator: Input is not an initiator type."),
    ("summary", RANGE | {"initiator": "all"}, "initiator: Input is not an initiator type."),
    ("summary", RANGE | {"initiator": "a\0b"}, "initiator: Input is not an initiator type."),
    ("initiators", RANGE | {"after": "NOBODY"}, "begin again, without `after`"),
    ("clients", RANGE | {"after": str(UUID(int=1))}, "begin again, without `after`"),
    ("clients", RANGE | {"after": "mine"}, "after: Input is neither none nor the id of a client."),
    ("metrics", RANGE, "period: Field required."),
    ("metrics", RANGE | {"period": "year"}, "period: Input should be 'hour', 'day', 'week' or 'month'."),
    ("metrics", RANGE | {"period": "day", "limit": 0}, "limit: "),
    ("metrics", RANGE | {"period": "day", "limit": 1001}, "limit: "),
    ("metrics", RANGE | {"period": "day", "measures": "p50"}, "There is no such measure"),
    ("metrics", RANGE | {"period": "day", "measures": ""}, "There is no such measure"),
    ("metrics", RANGE | {"period": "day", "workflow": "none"}, "workflow: Input is neither each nor the id"),
    ("metrics", RANGE | {"period": "day", "client": "every"}, "client: Input is neither each nor none"),
    ("metrics", RANGE | {"period": "day", "client": f"{0:032x}"}, "client: Input is neither"),
    ("metrics", RANGE | {"period": "day", "initiator": ""}, "initiator: Input is neither"),
    ("metrics", RANGE | {"period": "day", "initiator": "a\0b"}, "initiator: Input is neither"),
    ("metrics", RANGE | {"period": "day", "initiator": "all"}, "initiator: Input is neither"),
    ("metrics", RANGE | {"period": "day", "after": "somewhere"}, "after: Input is not the `next`"),
    *(
        ("metrics", RANGE | {"period": "day", "after": after}, "after: Input is not the `next`")
        for after in (
            "NQ",
            place(),
            place(1, 2, 3, 4),
            place("yesterday", *SOMEWHERE[1:], "USER"),
            place("2024-01-31", *SOMEWHERE[1:], "USER"),
            place(*SOMEWHERE, "a\0b"),
            place(*SOMEWHERE, "\ud800"),
            place(*SOMEWHERE, None),
            place(*SOMEWHERE, ["USER"]),
        )
    ),
    ("metrics", RANGE | {"period": "day", "after": "b\u00f6se"}, "after: Input is not the `next`"),
    ("metrics", RANGE | {"period": ["day", "week"]}, "Each parameter may be given once."),
    ("clients", RANGE | {"format": "xml"}, "format: Input should be 'json' or 'csv'."),
    ("clients", RANGE | {"limit": "many"}, "limit: "),
]


@pytest.mark.parametrize(("question", "asked", "told"), NOT_UNDERSTOOD)
def test_what_cannot_be_understood_is_told(
    shared: Api, question: str, asked: dict[str, Any], told: str
) -> None:
    """Which parameter, and what it should be; 422, in the shape of RFC 9457."""
    answer = shared.ask(shared.tenants[0], question, **asked)

    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert_problem(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/healthz", 405), ("DELETE", "/v1/definitions", 405)],
)
def test_what_is_not_served_is_a_problem_too(shared: Api, method: str, path: str, status: int) -> None:
    """A path that nobody serves, or a verb that it does not have."""
    answer = shared.client.request(method, path)

    assert answer.status_code == status
    assert_problem(answer)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/nowhere", "/v1/definitions"])
def test_every_answer_has_the_headers_of_a_careful_server(shared: Api, path: str) -> None:
    """No guessing of types, no frames, no referrer, nothing shared between tenants, nothing for others."""
    answer = shared.client.get(path, headers={"Origin": "https://elsewhere.example.com"})

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Vary"] == "Authorization, Accept"
    assert answer.headers["Cache-Control"] in ("private, must-revalidate", "no-store")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_page_of_another_origin_may_ask_nothing(shared: Api) -> None:
    """The question whether it may is not even served."""
    answer = shared.client.options(
        path_of(shared.tenants[0], "summary"),
        headers={"Origin": "https://elsewhere.example.com", "Access-Control-Request-Method": "GET"},
    )

    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_database_that_fails_is_not_quoted(own: Api, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is 503 without a word of the driver's, and afterwards the same connections answer again.

    Who looks after the server reads of what kind the failure was.
    """
    tenant = own.tenants[0]
    own.pipeline.analytics.execute("ALTER TABLE analytics.aggregate_metrics RENAME TO private_table")
    for _ in range(20):
        answer = own.ask(tenant, "summary", **RANGE)
    own.pipeline.analytics.execute("ALTER TABLE analytics.private_table RENAME TO aggregate_metrics")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert_problem(answer)
    for word in ("aggregate_metrics", "relation", "SELECT", "psycopg"):
        assert word not in answer.text + caplog.text
    assert "AnalyticsQueryError, because of UndefinedTable" in caplog.text
    assert {own.ask(tenant, "summary", **RANGE).status_code for _ in range(20)} == {200}


def test_connections_that_were_cut_are_replaced(own: Api) -> None:
    """A restart of the database costs no request its answer."""
    tenant = own.tenants[0]
    before = own.ask(tenant, "clients", **RANGE)
    cut = own.pipeline.select(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'execmetrics serve' AND datname = current_database()"
    )

    after = own.ask(tenant, "clients", **RANGE)

    assert cut != [(0,)]
    assert (after.status_code, after.text) == (200, before.text)


def test_without_a_database_the_answer_is_to_come_back(monkeypatch: pytest.MonkeyPatch, shared: Api) -> None:
    """Where nobody listens the server is up, says that it is not ready, and names no address."""
    monkeypatch.setattr("pipelines.query.pool._PATIENCE_S", 0.5)
    logging.getLogger("psycopg.pool").addFilter(lambda _record: False)
    url = "postgresql://reader:sesame@127.0.0.1:1/metrics"
    settings = load_settings(database_url=url)
    with ReadingPool(url, settings) as pool:
        client = TestClient(create_app(settings, pool, trusting(SECRET, AUDIENCE)))
        asked = {"Authorization": f"Bearer {token_of(shared.tenants[0])}"}
        answers = [
            client.get(path_of(shared.tenants[0], "clients"), params=RANGE, headers=asked),
            client.get("/readyz"),
        ]
        alive = client.get("/healthz")

    assert alive.status_code == 200
    for answer in answers:
        assert answer.status_code == 503
        assert_problem(answer)
        assert "127.0.0.1" not in answer.text
        assert "sesame" not in answer.text


@pytest.mark.parametrize("failure", [ValueError, ExecutionMetricsError, RuntimeError, KeyError])
def test_what_nobody_expected_is_on_record_without_values(
    shared: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: type[Exception],
) -> None:
    """The caller reads a fixed sentence, the log where it happened; the words might quote a patient."""

    patient = "John Smith"

    def fail(*_: object) -> None:
        raise failure(patient)

    monkeypatch.setattr("pipelines.api.routes.said_of", fail)

    answer = shared.ask(shared.tenants[0], "summary", **RANGE)

    assert answer.status_code == 500
    assert_problem(answer)
    assert "nobody expected" in answer.json()["detail"]
    assert failure.__name__ in caplog.text
    assert "routes.py" in caplog.text
    assert patient not in answer.text + caplog.text


def assert_problem(answer: Any) -> None:
    """An answer is a problem, of exactly the members that RFC 9457 names."""
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem.keys() == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == answer.status_code
    assert problem["instance"] == answer.request.url.path
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == "about:blank" or problem["type"].startswith("urn:execution-metrics:problem:")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
