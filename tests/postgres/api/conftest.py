"""The HTTP API over a real database, entered as a role that may only read."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pipelines.api.app import create_app
from pipelines.api.auth import Trust, signed, trusting
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.grants import grants
from pipelines.query import ranges
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.pool import ReadingPool
from pipelines.settings import Settings, load_settings
from tests.conftest import Cluster, creating_databases, with_user
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant

with warnings.catch_warnings():
    # Starlette would rather have another client, which does the same.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SECRET = "a secret of these tests, and long enough"
AUDIENCE = "execution-metrics"
RANGE = {"since": "2024-01-31", "until": "2024-02-03"}

NAMES = ("Acme", "Bravo", "Core")

# Every question that a tenant may ask, and one way to ask it.
QUESTIONS = {
    "metrics": RANGE | {"period": "day", "workflow": "each", "client": "each"},
    "summary": RANGE,
    "workflows": RANGE,
    "clients": RANGE,
    "initiators": RANGE,
    "completeness": {},
}

Answer = Any


@dataclass(frozen=True)
class Api:
    """An API and those whose metrics it has; `reader_url` is what it reads with."""

    client: TestClient
    reader_url: str
    pool: ReadingPool
    pipeline: Pipeline
    tenants: tuple[Tenant, ...]

    @property
    def url(self) -> str:
        """The database, as its owner."""
        return self.pipeline.databases.analytics_url

    @property
    def settings(self) -> Settings:
        """Those of the pipeline."""
        return self.pipeline.settings

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)

    def ask(self, tenant: Tenant, question: str, /, **parameters: Any) -> Answer:
        """What a tenant is answered to a question about itself; `headers` go with it."""
        headers = {"Authorization": f"Bearer {token_of(tenant)}"} | parameters.pop("headers", {})
        return self.client.get(path_of(tenant, question), params=parameters, headers=headers)


@pytest.fixture(scope="session")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Three tenants for the tests that only read, all on the same days."""
    with (
        pipeline_for_many(cluster, tmp_path_factory) as pipeline,
        opened(pipeline, plant_three(pipeline)) as api,
    ):
        yield api


@pytest.fixture
def own(pipeline: Pipeline) -> Iterator[Api]:
    """The same for one test alone, which may change what it likes."""
    with opened(pipeline, plant_three(pipeline)) as api:
        yield api


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that were read, one after the other."""
    names: list[str] = []
    of_metrics, of_ranges = AnalyticsRepository._rows, ranges.rows

    def rows(metrics: AnalyticsRepository, name: str, values: Any, **by: Any) -> Any:
        names.append(name)
        return of_metrics(metrics, name, values, **by)

    monkeypatch.setattr(AnalyticsRepository, "_rows", rows)
    monkeypatch.setattr(ranges, "rows", lambda *asked: names.append(asked[1]) or of_ranges(*asked))
    return names


@contextmanager
def opened(pipeline: Pipeline, tenants: tuple[Tenant, ...] = (), trust: Trust | None = None) -> Iterator[Api]:
    """Open the API as a role that may do what `execmetrics grants` prints for a dashboard."""
    with reading_role(pipeline) as url, ReadingPool(url, pipeline.settings) as pool:
        app = create_app(pipeline.settings, pool, trust or trusting(SECRET, AUDIENCE))
        yield Api(TestClient(app), url, pool, pipeline, tenants)


@contextmanager
def reading_role(pipeline: Pipeline) -> Iterator[str]:
    """Make the role, give the URL with it, and drop it again."""
    role = f"api_of_{pipeline.analytics.info.dbname}"
    printed = grants(pipeline.settings, source_reader="s", writer="w", dashboard_reader=role)
    (reader,) = (each for each in printed if each.purpose == "dashboard_reader")
    made = f"CREATE ROLE {role} LOGIN NOBYPASSRLS", f"GRANT {role} TO CURRENT_USER"
    for statement in (*made, *reader.statements):
        pipeline.analytics.execute(statement)
    try:
        yield with_user(pipeline.databases.analytics_url, role)
    finally:
        pipeline.analytics.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@contextmanager
def pipeline_for_many(cluster: Cluster, folders: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline over a database that is source and analytics at once, for more tests than one."""
    with creating_databases(cluster("embedded")) as create:
        url = create()
        settings = load_settings(database_url=url, source_url=url, home=folders.mktemp("home"))
        with psycopg.connect(url, autocommit=True) as connection:
            yield Pipeline(Databases(url, url), settings, connection, connection)


def plant_three(pipeline: Pipeline) -> tuple[Tenant, ...]:
    """Three tenants with 18, 30 and 42 jobs on the same three days, refreshed."""
    tenants = tuple(map(pipeline.plant_tenant, NAMES))
    for tenant, many in zip(tenants, (3, 5, 7), strict=True):
        pipeline.plant_jobs(tenant, [a_job(tenant, number) for number in range(many * 6)])
    pipeline.refresh()
    return tenants


def a_job(tenant: Tenant, number: int) -> dict[str, Any]:
    """One job of many, with its own duration, for every dimension in turn."""
    completed_at = NOON + (number % 3) * DAY - (number % 2) * HOUR
    return {
        "completed_at": completed_at,
        "started_at": completed_at - (number + 1) * MINUTE,
        "workflow_id": tenant.workflows[number % 2],
        "client_id": [*tenant.clients, None][number % 3],
        "initiator_type": ["USER", "SCHEDULE", None][number % 5 % 3],
        "status": "FAILED" if number % 4 == 0 else "COMPLETED",
    }


def path_of(tenant: Tenant | str, question: str) -> str:
    """Where a question about an organization is asked."""
    organization = tenant.organization if isinstance(tenant, Tenant) else tenant
    return f"/v1/organizations/{organization}/{question}"


def token_of(tenant: Tenant, **options: Any) -> str:
    """A token of a tenant's that is believed."""
    asked = {"secret": SECRET, "audience": AUDIENCE, "valid_for": timedelta(minutes=5)} | options
    return signed(tenant.organization, **asked)
