"""Units of work of a tenant beside a neighbour who has the same."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipelines.executions.execution_logs import NewLogLine
from pipelines.executions.unit_of_work import UnitOfWork, unit_of_work
from pipelines.postgres.connections import Databases
from pipelines.query.tenant import admit
from pipelines.settings import Settings
from tests.support.planting import NOON, Tenant, new_id, plant_tenant

# Who reads, and why.
READER = ("dr.who", "treatment")

Begin = Callable[..., AbstractContextManager[UnitOfWork]]


@pytest.fixture
def acme(source: psycopg.Connection) -> Tenant:
    """The tenant that asks."""
    return plant_tenant(source)


@pytest.fixture
def neighbour(source: psycopg.Connection) -> Tenant:
    """One that must neither be seen nor changed."""
    return plant_tenant(source, "Neighbour")


@pytest.fixture
def begin(databases: Databases, settings: Settings) -> Begin:
    """A function that begins a unit of work as a tenant, elsewhere or with other settings if it is told."""

    def begun(
        tenant: Tenant, url: str = "", reader: tuple[str, str] = READER, **changed: object
    ) -> AbstractContextManager[UnitOfWork]:
        said = dict(zip(("accessed_by", "purpose"), reader, strict=True))
        place = url or databases.source_url, settings.model_copy(update=changed)
        return unit_of_work(*place, admit(tenant.organization), **said)

    return begun


def write_lines(begin: Begin, tenant: Tenant, lines: Iterable[NewLogLine]) -> None:
    """Write lines of a tenant's logs, and commit."""
    with begin(tenant) as work:
        work.logs.create_many(lines)
        work.commit()


def count_rows(source: psycopg.Connection, table: str) -> int:
    """How many rows of a table anybody can see."""
    return source.execute(f"SELECT count(*) FROM orchestration.{table}").fetchone()[0]


def plant_child(source: psycopg.Connection, tenant: Tenant, job: UUID, table: str, **columns: Any) -> UUID:
    """Insert a row that belongs to a job, and return its id, or that of the job."""
    row = {"organization_id": tenant.organization, "job_id": job} | columns
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    source.execute(f"INSERT INTO orchestration.{table} ({names}) VALUES ({values})", row)
    return row.get("id", job)


def plant_screenshot(source: psycopg.Connection, tenant: Tenant, job: UUID, **columns: Any) -> UUID:
    """Insert a screenshot of a job that was taken at noon, except for the columns given."""
    image = {"image_reference": "somewhere", "image_size_bytes": 1, "image_sha256": "0" * 64}
    row = {"id": new_id(), "screenshot_type": "STEP", "captured_at": NOON} | image | columns
    return plant_child(source, tenant, job, "execution_screenshots", **row)
