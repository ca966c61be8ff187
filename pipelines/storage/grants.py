"""What each role must be allowed to do, and nothing more, as GRANT statements."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier
from pydantic import SecretStr

from pipelines.settings import Settings
from pipelines.storage.tables import ANALYTICS, ORCHESTRATION, SOURCE_COLUMNS

# What a run does to each table: upserts read what they replace, and the staging table copies a shape.
_WRITTEN: Final[Mapping[str, tuple[str, ...]]] = {
    "aggregate_metrics": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "job_anomalies": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "organizations": ("SELECT", "INSERT", "UPDATE"),
    "workflows": ("SELECT", "INSERT", "UPDATE"),
    "clients": ("SELECT", "INSERT", "UPDATE"),
    "extraction_cursors": ("SELECT", "INSERT", "UPDATE"),
    "completeness": ("SELECT", "INSERT", "UPDATE"),
    "restatements": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "refresh_outcomes": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "metric_definitions": ("SELECT", "INSERT"),
    "time_zone_offsets": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "retention": ("SELECT", "INSERT", "UPDATE"),
    "alembic_version": ("SELECT",),
}

# What dashboards read: nobody's row unless the session says whose.
_VIEWS: Final = ("org_totals_v1", "by_workflow_v1", "by_client_v1", "by_initiator_v1", "aggregate_metrics_v1")

_EMBEDDED: Final = "execmetrics"


@dataclass(frozen=True)
class RoleGrants:
    """The statements that make an existing role fit for one purpose, to be run in `database` by its owner."""

    purpose: str
    role: str
    database: str
    statements: tuple[str, ...]


def grants(settings: Settings, *, source_reader: str, writer: str, dashboard_reader: str) -> list[RoleGrants]:
    """The grants of the three roles, for the databases that the settings name."""
    analytics = _name(settings.database_url) or _EMBEDDED
    source = _name(settings.source_url) or analytics
    return [
        _granted("source_reader", source_reader, source, reading_the_source()),
        _granted("writer", writer, analytics, _writing()),
        _granted("dashboard_reader", dashboard_reader, analytics, _reading_the_aggregates()),
    ]


def reading_the_source(tables: Iterable[str] = tuple(SOURCE_COLUMNS)) -> Iterator[Composed]:
    """Yield what a run does in these tables of the source, each the middle of a GRANT."""
    yield SQL("USAGE ON SCHEMA {}").format(Identifier(ORCHESTRATION))
    for table in tables:
        # By column, because a grant on the table would include jobs.result.
        names = SQL(", ").join(map(Identifier, SOURCE_COLUMNS[table]))
        yield SQL("SELECT ({}) ON {}").format(names, Identifier(ORCHESTRATION, table))


def _writing() -> Iterator[Composed]:
    yield SQL("USAGE ON SCHEMA {}").format(Identifier(ANALYTICS))
    for table, privileges in _WRITTEN.items():
        # Keywords of this module, not values from anywhere.
        verbs = SQL(", ").join(map(_keyword, privileges))
        yield SQL("{} ON {}").format(verbs, Identifier(ANALYTICS, table))


def _reading_the_aggregates() -> Iterator[Composed]:
    yield SQL("USAGE ON SCHEMA {}").format(Identifier(ANALYTICS))
    for table in (*_WRITTEN, *_VIEWS):
        yield SQL("SELECT ON {}").format(Identifier(ANALYTICS, table))


def _granted(purpose: str, role: str, database: str, what: Iterator[Composed]) -> RoleGrants:
    # Recomputed cells wait in a temporary table.
    connecting = SQL("CONNECT, TEMPORARY ON DATABASE {}" if purpose == "writer" else "CONNECT ON DATABASE {}")
    granted = [connecting.format(Identifier(database)), *what]
    statements = (SQL("GRANT {} TO {};").format(grant, Identifier(role)).as_string() for grant in granted)
    return RoleGrants(purpose, role, database, tuple(statements))


def _keyword(privilege: str) -> SQL:
    return {name: SQL(name) for name in ("SELECT", "INSERT", "UPDATE", "DELETE")}[privilege]


def _name(url: SecretStr | None) -> str | None:
    """The database that libpq would connect to."""
    if not url:
        return None
    given = conninfo_to_dict(url.get_secret_value())
    return str(given.get("dbname") or given.get("user") or "") or None
