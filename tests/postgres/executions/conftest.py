"""Units of work of a tenant beside a neighbour who has the same."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pipelines.executions.unit_of_work import UnitOfWork, unit_of_work
from pipelines.postgres.connections import Databases
from pipelines.query.tenant import admit
from pipelines.settings import Settings
from tests.support.planting import NOON, Tenant, new_id, plant_tenant

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
    """A function that begins a unit of work as a tenant."""

    def begun(tenant: Tenant, **settings_changed: object) -> AbstractContextManager[UnitOfWork]:
        return partial(unit_of_work, databases.source_url, settings.model_copy(update=settings_changed))(
            admit(tenant.organization), accessed_by="dr.who", purpose="treatment"
        )

    return begun


def plant_screenshot(source: psycopg.Connection, tenant: Tenant, job: UUID, **columns: Any) -> UUID:
    """Insert a screenshot of a job that was taken at noon, except for the columns given."""
    row = {
        "id": new_id(),
        "organization_id": tenant.organization,
        "job_id": job,
        "screenshot_type": "STEP",
        "image_reference": "somewhere",
        "image_size_bytes": 1,
        "image_sha256": "0" * 64,
        "captured_at": NOON,
    } | columns
    source.execute(
        f"INSERT INTO orchestration.execution_screenshots ({', '.join(row)})"
        f" VALUES ({', '.join(f'%({name})s' for name in row)})",
        row,
    )
    return row["id"]
