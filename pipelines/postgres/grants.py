"""What each role must be allowed to do, and nothing more, as GRANT statements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, LiteralString

from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier, Literal
from pydantic import SecretStr

from pipelines.postgres.schemas import (
    ANALYTICS,
    MONTHS_COLUMNS,
    ORCHESTRATION,
    SOURCE_COLUMNS,
    STEP_SOURCE_COLUMNS,
)
from pipelines.settings import Settings

# What a run does to each table: upserts read what they replace, and the staging table copies a shape.
_DELETED: Final = ("aggregate_metrics", "aggregate_step_metrics", "job_anomalies", "restatements")
_KEPT: Final = ("organizations", "workflows", "clients", "watermarks", "retention")
_WRITTEN: Final[Mapping[str, LiteralString]] = {
    **dict.fromkeys((*_DELETED, "refresh_outcomes", "time_zone_offsets"), "SELECT, INSERT, UPDATE, DELETE"),
    **dict.fromkeys(_KEPT, "SELECT, INSERT, UPDATE"),
    "metric_definitions": "SELECT, INSERT",
    "alembic_version": "SELECT",
}

# What an application does to the tables of executions: rows are soft-deleted, lines of logs deleted, for
# which it may replace an archive, and of the accesses to health data it can write one, and no more.
_APPLIED: Final[Mapping[str, LiteralString]] = {
    "organizations": "SELECT",
    "clients": "SELECT",
    "workflows": "SELECT, INSERT, UPDATE",
    "jobs": "SELECT, INSERT, UPDATE",
    "execution_logs": "SELECT, INSERT, DELETE",
    "execution_log_months": "SELECT, UPDATE",
    "execution_screenshots": "SELECT, INSERT, UPDATE",
    "execution_rag_rules": "SELECT, INSERT, UPDATE",
    "execution_metadata": "SELECT",
    "phi_access_log": "INSERT",
}

# What dashboards read: nobody's row unless the session says whose.
_VIEWS: Final = ("org_totals_v1", "by_workflow_v1", "by_client_v1", "by_initiator_v1", "aggregate_metrics_v1")

_READ: Final[Mapping[str, LiteralString]] = dict.fromkeys((*_WRITTEN, *_VIEWS), "SELECT")


@dataclass(frozen=True)
class RoleGrants:
    """The statements that make an existing role fit for one purpose, to be run in `database` by its owner.

    It is the database of the `source` or of the `analytics`, which may be the same.
    """

    purpose: str
    role: str
    database: str
    statements: tuple[str, ...]

    @property
    def of(self) -> str:
        """Which of the two databases the role is for."""
        return "source" if self.purpose in ("source_reader", "application") else "analytics"

    @property
    def created(self) -> "RoleGrants":
        """The same after statements that make the role, unless it is there.

        What a source does not have yet is granted by what `execmetrics doctor` prints.
        """
        new = SQL("NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {})").format(Literal(self.role))
        statements = [_only_if(new, SQL("CREATE ROLE {} LOGIN").format(Identifier(self.role)))]
        for statement in self.statements:
            of_schema = f'"{ORCHESTRATION}"' in statement and not statement.startswith("DO ")
            missing_yet = self.of == "source" and of_schema
            statements.append(_if_table("jobs", SQL(statement.rstrip(";"))) if missing_yet else statement)
        return replace(self, statements=tuple(statements))


def grants(
    settings: Settings,
    *,
    source_reader: str,
    writer: str,
    dashboard_reader: str,
    application: str | None = None,
) -> list[RoleGrants]:
    """The grants of the three roles, for the databases that the settings name, and of a fourth if named."""
    analytics = _name(settings.database_url) or "execmetrics"
    source = _name(settings.source_url) or analytics
    granted = [
        _granted("source_reader", source_reader, source, reading_the_source(), *_of_logs(source_reader)),
        _granted("writer", writer, analytics, _privileges(ANALYTICS, _WRITTEN)),
        _granted("dashboard_reader", dashboard_reader, analytics, _privileges(ANALYTICS, _READ)),
    ]
    if application is not None:
        granted.append(_granted("application", application, source, _privileges(ORCHESTRATION, _APPLIED)))
    return granted


def reading_the_source(tables: Iterable[str] = tuple(SOURCE_COLUMNS)) -> Iterator[Composed]:
    """Yield what a run does in these tables of the source, each the middle of a GRANT."""
    yield SQL("USAGE ON SCHEMA {}").format(Identifier(ORCHESTRATION))
    for table in tables:
        yield _selecting(table, SOURCE_COLUMNS[table])


def _selecting(table: str, columns: Sequence[str]) -> Composed:
    """By column, because a grant on the table would include jobs.result and execution_logs.message."""
    names = SQL(", ").join(map(Identifier, columns))
    return SQL("SELECT ({}) ON {}").format(names, Identifier(ORCHESTRATION, table))


def _of_logs(role: str) -> Iterator[str]:
    """Statements that do nothing in a source that has no such table."""
    for table, columns in (*STEP_SOURCE_COLUMNS.items(), *MONTHS_COLUMNS.items()):
        granted = SQL("GRANT {} TO {}").format(_selecting(table, columns), Identifier(role))
        yield _if_table(table, granted)


def _if_table(table: str, statement: SQL | Composed) -> str:
    condition = SQL("to_regclass({}) IS NOT NULL").format(Literal(f"{ORCHESTRATION}.{table}"))
    return _only_if(condition, statement)


def _only_if(condition: Composed, statement: SQL | Composed) -> str:
    return SQL("DO $$ BEGIN IF {} THEN {}; END IF; END $$;").format(condition, statement).as_string()


def _privileges(schema: str, on: Mapping[str, LiteralString]) -> Iterator[Composed]:
    yield SQL("USAGE ON SCHEMA {}").format(Identifier(schema))
    for table, privileges in on.items():
        yield SQL("{} ON {}").format(SQL(privileges), Identifier(schema, table))


def _granted(purpose: str, role: str, database: str, what: Iterator[Composed], *more: str) -> RoleGrants:
    # Recomputed cells wait in a temporary table.
    connecting = SQL("CONNECT, TEMPORARY ON DATABASE {}" if purpose == "writer" else "CONNECT ON DATABASE {}")
    granted = [connecting.format(Identifier(database)), *what]
    statements = (SQL("GRANT {} TO {};").format(grant, Identifier(role)).as_string() for grant in granted)
    return RoleGrants(purpose, role, database, (*statements, *more))


def _name(url: SecretStr | None) -> str | None:
    """The database that libpq would connect to."""
    if not url:
        return None
    given = conninfo_to_dict(url.get_secret_value())
    return str(given.get("dbname") or given.get("user") or "") or None
