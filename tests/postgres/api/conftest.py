"""The HTTP API over a real database, entered as a role that may only read."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.api.app import create_app
from pipelines.api.tokens import Trust, signed, trusting
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.grants import grants
from pipelines.query.pool import ReadingPool
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from tests.conftest import OWNER, Cluster, with_database, with_user
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, plant_jobs, plant_tenant

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
    databases: Databases
    settings: Settings
    tenants: tuple[Tenant, ...]

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)

    def ask(self, tenant: Tenant, question: str, /, **parameters: Any) -> Answer:
        """What a tenant is answered to a question about itself; `headers` go with it."""
        headers = {"Authorization": f"Bearer {token_of(tenant)}"} | parameters.pop("headers", {})
        return self.client.get(path_of(tenant, question), params=parameters, headers=headers)


Opened = Callable[..., AbstractContextManager[Api]]


@pytest.fixture(scope="session")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Three tenants for the tests that only read, all on the same days."""
    server, name = cluster("embedded"), "shared_by_the_dashboard"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests OWNER {OWNER} STRATEGY file_copy")
    url = with_user(with_database(server, name), OWNER)
    databases, settings = settled(url, tmp_path_factory.mktemp("shared"))
    with opened(databases, settings, plant_three(databases, settings)) as api:
        yield api
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own(databases: Databases, settings: Settings) -> Iterator[Api]:
    """The same for one test alone, which may change what it likes."""
    with opened(databases, settings, plant_three(databases, settings)) as api:
        yield api


@contextmanager
def opened(
    databases: Databases, settings: Settings, tenants: tuple[Tenant, ...] = (), trust: Trust | None = None
) -> Iterator[Api]:
    """Open the API as a role that may do what `execmetrics grants` prints for a dashboard."""
    with reading_role(databases, settings) as url, ReadingPool(url, settings) as pool:
        app = create_app(settings, pool, trust or trusting(SECRET, AUDIENCE))
        yield Api(TestClient(app), url, pool, databases, settings, tenants)


@contextmanager
def reading_role(databases: Databases, settings: Settings) -> Iterator[str]:
    """Make the role, give the URL with it, and drop it again."""
    with psycopg.connect(databases.analytics_url, autocommit=True) as owner:
        role = f"api_of_{owner.info.dbname}"
        owner.execute(f"CREATE ROLE {role} LOGIN NOBYPASSRLS")
        owner.execute(f"GRANT {role} TO CURRENT_USER")
        printed = grants(settings, source_reader="s", writer="w", dashboard_reader=role)
        (reader,) = (each for each in printed if each.purpose == "dashboard_reader")
        for statement in reader.statements:
            owner.execute(statement)
        try:
            yield with_user(databases.analytics_url, role)
        finally:
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"DROP ROLE {role}")


def settled(url: str, home: Path) -> tuple[Databases, Settings]:
    """A database that is source and analytics at once, and settings for it."""
    return Databases(url, url), load_settings(database_url=url, source_url=url, home=home)


def plant_three(databases: Databases, settings: Settings) -> tuple[Tenant, ...]:
    """Three tenants with 18, 30 and 42 jobs on the same three days, refreshed."""
    with psycopg.connect(databases.source_url, autocommit=True) as source:
        tenants = tuple(plant_tenant(source, name) for name in NAMES)
        for tenant, many in zip(tenants, (3, 5, 7), strict=True):
            plant_jobs(source, tenant, [a_job(tenant, number) for number in range(many * 6)])
    refresh(Run(databases, settings))
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
