"""Reading as one tenant: a transaction in which the database shows nobody else's rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pipelines.errors import AnalyticsQueryError
from pipelines.postgres.connections import Connection, connect
from pipelines.postgres.statements import body, statement
from pipelines.query.tenant import Tenant
from pipelines.settings import Settings

Row = Mapping[str, Any]


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
    """What a statement gives; raises `AnalyticsQueryError` with the driver's words behind it."""
    with answering(), connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(_filled(path), values))


@contextmanager
def answering() -> Iterator[None]:
    """Raise `AnalyticsQueryError` where the database fails: no word of the driver's may reach a page."""
    try:
        yield
    except psycopg.Error as failed:
        raise AnalyticsQueryError from failed


@cache
def _filled(path: str) -> str:
    summed = body(path).replace("{summed}", body("tenant_metrics/summed"))
    return summed.replace("{estimates}", body("tenant_metrics/estimates"))
