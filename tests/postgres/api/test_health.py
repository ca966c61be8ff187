"""What those who run the server ask it, and need no token for."""

import re
import time

import pytest

from pipelines.errors import DatabaseUnreachable, SchemaMissing
from pipelines.query.pool import Readiness
from tests.postgres.api.conftest import RANGE, Api


def test_it_is_up_and_ready(shared: Api) -> None:
    """Without a token, and never from a cache."""
    for path, status in (("/healthz", "up"), ("/readyz", "ready")):
        answer = shared.client.get(path)

        assert (answer.status_code, answer.json()) == (200, {"status": status})
        assert answer.headers["Cache-Control"] == "no-store"


def test_tables_of_another_version_are_not_ready(own: Api) -> None:
    """Before a migration the process is up, but sends its requests elsewhere."""
    own.pipeline.analytics.execute("UPDATE analytics.alembic_version SET version_num = 'analytics_0001'")

    answer = own.client.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "run `execmetrics migrate`" in answer.json()["detail"]
    assert own.client.get("/healthz").status_code == 200


def test_readiness_is_not_asked_for_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, the database is asked once a second; what it said is passed on."""
    asked: list[float] = []

    def require() -> None:
        asked.append(now)
        if len(asked) > 1:
            raise SchemaMissing("postgresql://reader@10.0.0.1/metrics")

    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    readiness = Readiness(require)
    for _ in range(10):
        readiness.require()
    now = 1.5
    for _ in range(10):
        with pytest.raises(SchemaMissing) as refused:
            readiness.require()

    assert asked == [0.0, 1.5]
    assert "10.0.0.1" not in str(refused.value)


def test_who_waits_for_a_database_that_hangs_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request may hang with it; the others are told that it does not answer."""
    monkeypatch.setattr("pipelines.query.pool._READY_PATIENCE_S", 0.01)
    readiness = Readiness(lambda: None)
    with readiness._asking, pytest.raises(DatabaseUnreachable):
        readiness.require()

    readiness.require()


def test_requests_are_counted_by_route_and_status(shared: Api, own: Api) -> None:
    """Of whom nobody can tell, and paths that are made up do not fill the memory.

    Two applications in one process know nothing of each other's requests.
    """
    tenant = own.tenants[0]
    for _ in range(2):
        own.ask(tenant, "summary", **RANGE)
    own.ask(tenant, "summary")
    own.client.get("/v1/organizations/x/summary")
    own.client.get(f"/made/up/{tenant.organization}")
    shared.client.get("/nowhere")

    answer = own.client.get("/metrics")

    route = "/v1/organizations/{organization_id}/summary"
    counted = dict(re.findall(r"^execmetrics_http_requests_total(\{.+\}) (\S+)$", answer.text, re.MULTILINE))
    assert counted == {
        f'{{route="{route}",status="200"}}': "2.0",
        f'{{route="{route}",status="422"}}': "1.0",
        f'{{route="{route}",status="401"}}': "1.0",
        '{route="none",status="404"}': "1.0",
    }
    assert (
        f'execmetrics_http_request_duration_seconds_count{{route="{route}",status="200"}} 2.0' in answer.text
    )
    assert str(tenant.organization) not in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
