"""Units of work of a tenant beside a neighbour who has the same."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import psycopg
import pytest

from pipelines.repositories.unit_of_work import UnitOfWork, unit_of_work
from pipelines.settings import Settings
from pipelines.storage.database import Databases
from pipelines.tenancy import admit
from tests.planting import Tenant, plant_tenant

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
