"""The tenant whose metrics may be read: it is admitted here once proven, and reads its own rows alone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import InitVar, dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from pipelines.errors import AnalyticsQueryError
from pipelines.postgres.connections import Connection, connect
from pipelines.postgres.statements import body, statement
from pipelines.settings import Settings

Row = dict[str, Any]

_MINT: Final = object()


@dataclass(frozen=True)
class Tenant:
    """An organization that asks for its own metrics, by its id in every table; only `admit` makes one."""

    organization_id: UUID
    mint: InitVar[object]

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise TypeError("a Tenant is made by tenancy.admit, where an identity was proven")


def admit(organization_id: UUID) -> Tenant:
    """The tenant of a caller who has proven to be of this organization, by a token or as its operator."""
    return Tenant(organization_id, _MINT)


@contextmanager
def reading_as(url: str, settings: Settings, tenant: Tenant) -> Iterator[Connection]:
    """Yield a connection in a read-only transaction that is this tenant's. Raises as `connect`."""
    with connect(url, settings) as connection:
        read_as(connection, tenant)
        yield connection


def read_as(connection: Connection, tenant: Tenant) -> None:
    """Make the transaction that begins now this tenant's, and read-only; the next one is nobody's again."""
    with answering():
        connection.execute("SET TRANSACTION READ ONLY")
        values = {"organization_id": str(tenant.organization_id)}
        connection.execute(statement("tenant_metrics/identity"), values)


def rows(connection: Connection, path: str, values: Mapping[str, object]) -> list[Row]:
    """What a statement of a name gives; raises as `rows_of`."""
    return rows_of(connection, body(path), values)


def rows_of(connection: Connection, text: str, values: Mapping[str, object]) -> list[Row]:
    """What a statement gives; raises `AnalyticsQueryError` with the driver's words behind it."""
    with answering(), connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(text, values))


@contextmanager
def answering() -> Iterator[None]:
    """Raise `AnalyticsQueryError` where the database fails: no word of the driver's may reach a page."""
    try:
        yield
    except psycopg.Error as failed:
        raise AnalyticsQueryError from failed
