"""How long a tenant waits for the database: what the page asks about thirty days, for each of all tenants."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
from psycopg.conninfo import make_conninfo

from pipelines.devtools.generated_month import GeneratedMonth
from pipelines.postgres.connections import Connection
from pipelines.postgres.grants import grants
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import Tenant, admit, read_as
from pipelines.settings import Settings
from pipelines.subjects.rollup import Period

_ROLE: Final = "bench_reader"
_DAYS: Final = 30

Question = Callable[..., object]

# The rows of a chart, then what its tiles and tables add up.
QUESTIONS: Final[Mapping[str, Question]] = {
    "the days": lambda metrics, **days: metrics.get_metrics(period=Period.DAY, **days),
    "the hours": lambda metrics, **days: metrics.get_metrics(period=Period.HOUR, **days),
    "counts, means and percentiles": lambda metrics, **days: metrics.get_total(**days),
    "all workflows": lambda metrics, **days: metrics.get_breakdown("workflow_id", **days),
    "all clients": lambda metrics, **days: metrics.get_breakdown("client_id", **days),
}


@contextmanager
def reading(url: str, settings: Settings) -> Iterator[Connection]:
    """Yield a connection as a role that may only read, as `execmetrics grants` makes one."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {_ROLE} LOGIN NOBYPASSRLS")
        printed = grants(settings, source_reader="source", writer="writer", dashboard_reader=_ROLE)
        (reader,) = (each for each in printed if each.purpose == "dashboard_reader")
        for statement in reader.statements:
            owner.execute(statement)
    with psycopg.connect(make_conninfo(url, user=_ROLE)) as connection:
        yield connection


def measure_reads(url: str, settings: Settings, month: GeneratedMonth) -> dict[str, list[float]]:
    """Milliseconds of each question for each organization, the second time that it asks, decoded."""
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with reading(url, settings) as connection:
        for organization_id in month.organization_ids:
            for first in (True, False):
                for name, question in QUESTIONS.items():
                    milliseconds = _milliseconds(connection, admit(organization_id), question, month.until)
                    if not first:
                        taken[name].append(milliseconds)
    return taken


def _milliseconds(connection: Connection, tenant: Tenant, question: Question, until: datetime) -> float:
    with connection.transaction():
        read_as(connection, tenant)
        metrics = AnalyticsRepository(connection, tenant)
        # Days by the tenant's own clocks, as its page asks.
        zone = ZoneInfo(metrics.get_completeness().time_zone)
        last = datetime(until.year, until.month, until.day, tzinfo=zone)
        begun = time.perf_counter()
        question(metrics, since=last - timedelta(days=_DAYS), until=last)
        return (time.perf_counter() - begun) * 1000
