"""A month of work at clinics that do not exist: what the demo shows and the benchmark measures."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from pipelines.errors import SchemaMissing
from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION
from pipelines.postgres.statements import render, statement
from pipelines.settings import Settings
from pipelines.subjects.dimensions import ALL_OF_EACH

# Past whatever the clock says, thirty days and a Monday first, so that the figures stay those of the README.
FIRST_DAY: Final = datetime(2026, 6, 1, tzinfo=UTC)

# Failed jobs are tried again as new jobs, which are part of the number asked for.
_JOBS_PER_PLANNED_JOB: Final = 1.0224

_SKETCH: Final = (
    "draw",
    "month_organizations",
    "month_workflows",
    "month_clients",
    "month_hours",
    "month_days",
    "analyze_month",
)


@dataclass(frozen=True)
class BadDeployment:
    """The workflow of the month that fails for six hours, beginning at `since`."""

    organization_id: UUID
    workflow_id: UUID
    since: datetime
    until: datetime


@dataclass(frozen=True)
class GeneratedMonth:
    """What a month consists of, the biggest organization first; `created` unless it was there already."""

    created: bool
    organization_ids: tuple[UUID, ...]
    workflows: int
    clients: int
    jobs: int
    since: datetime
    until: datetime
    bad_deployment: BadDeployment


@dataclass(frozen=True)
class _Plan:
    """Everything a month follows from; the same plan gives the same rows on every machine."""

    organizations: int = 24
    jobs: int = 240_000
    days: int = 30
    start: datetime = FIRST_DAY
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.seed}/{self.start:%Y-%m-%d}/{self.days}/{self.organizations}/{self.jobs}"

    @property
    def organization_ids(self) -> tuple[UUID, ...]:
        ranks = range(1, self.organizations + 1)
        return tuple(
            UUID(md5(f"{self.name}/organization/{rank}".encode(), usedforsecurity=False).hexdigest())
            for rank in ranks
        )

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "month": self.name,
            "seed": self.seed,
            "since": self.start,
            "days": self.days,
            "jobs": round(self.jobs / _JOBS_PER_PLANNED_JOB),
            "organization_ids": list(self.organization_ids),
        }


def generate_month(
    databases: Databases,
    settings: Settings,
    *,
    organizations: int = _Plan.organizations,
    jobs: int = _Plan.jobs,
    days: int = _Plan.days,
    start: datetime = _Plan.start,
    seed: int = _Plan.seed,
    on_progress: Callable[[str, int], None] | None = None,
) -> GeneratedMonth:
    """Write about so many jobs into the source, all of them or none; a month that is there is left alone."""
    plan = _Plan(organizations, jobs, days, start, seed)
    progress = on_progress or (lambda _stage, _rows: None)
    try:
        with connect(databases.source_url, settings) as connection:
            for sketch in _SKETCH:
                _run(connection, sketch, plan.parameters)
            created = _run(connection, "insert_organizations", plan.parameters).rowcount > 0
            if created:
                _fill(connection, plan, progress)
            month = _describe(connection, plan, created=created)
        if created:
            with connect(databases.source_url, settings, autocommit=True) as connection:
                _run(connection, "analyze_source", {})
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as missing:
        raise SchemaMissing from missing
    return month


def serves_others(databases: Databases, settings: Settings, *, jobs: int = _Plan.jobs) -> bool:
    """Whether source or aggregates hold organizations that a month of so many jobs does not consist of."""
    ours = _Plan(jobs=jobs).organization_ids
    for schema, url in ((ORCHESTRATION, databases.source_url), (ANALYTICS, databases.analytics_url)):
        with connect(url, settings) as connection:
            there = _run(connection, "table_exists", {"name": f"{schema}.organizations"}).fetchone()
            question = render("generated_month/other_organizations", {"schema": schema}).encode()
            if there == (True,):
                others = connection.execute(question, {"organization_ids": list(ours)}).fetchone()
                if others == (True,):
                    return True
    return False


def _fill(connection: psycopg.Connection, plan: _Plan, progress: Callable[[str, int], None]) -> None:
    parameters = plan.parameters
    _run(connection, "insert_workflows", parameters)
    _run(connection, "insert_clients", parameters)
    _run(connection, "sort_in_memory", {})
    with suppress(InsufficientPrivilege), connection.transaction():
        _run(connection, "trust_foreign_keys", {})
    written = 0
    for day in range(plan.days):
        written += _run(connection, "insert_jobs_of_a_day", parameters | {"day": day}).rowcount
        progress("generate", written)


def _describe(connection: psycopg.Connection, plan: _Plan, *, created: bool) -> GeneratedMonth:
    parameters = plan.parameters
    with connection.cursor(row_factory=class_row(BadDeployment)) as cursor:
        bad_deployment = cursor.execute(_statement("bad_deployment"), parameters).fetchone()
    extent = _run(connection, "month_extent", parameters).fetchone()
    assert bad_deployment is not None
    assert extent is not None
    workflows, clients, jobs = extent
    return GeneratedMonth(
        created=created,
        organization_ids=plan.organization_ids,
        workflows=workflows,
        clients=clients,
        jobs=jobs,
        since=plan.start,
        until=plan.start + timedelta(days=plan.days),
        bad_deployment=bad_deployment,
    )


def _run(connection: psycopg.Connection, name: str, parameters: dict[str, Any]) -> psycopg.Cursor:
    return connection.execute(_statement(name), parameters or None)


def _statement(name: str) -> LiteralString:
    return statement(f"generated_month/{name}")


@dataclass(frozen=True)
class OrganizationMonth:
    """How one organization's jobs of a month ended and how long they took."""

    organization_id: UUID
    name: str
    total_executions: int
    success_rate_pct: float
    median_duration_ms: float | None
    p95_duration_ms: float | None


@dataclass(frozen=True)
class FailingWorkflow:
    """A workflow whose jobs failed from `since` to `until` far more often than in the rest of the month."""

    organization_id: UUID
    organization: str
    workflow_id: UUID
    workflow: str
    since: datetime
    until: datetime
    failed_executions: int
    total_executions: int
    failed_pct: float
    usual_failed_pct: float


@dataclass(frozen=True)
class Written:
    """When the newest cell was written, how many were since the last look, and how many there are."""

    newest: datetime | None
    cells: int
    all_cells: int


def find_biggest_organizations(
    connection: psycopg.Connection, month: datetime, *, rows: int = 5
) -> list[OrganizationMonth]:
    """The organizations with the most jobs that completed in the month, the biggest first."""
    with connection.cursor(row_factory=class_row(OrganizationMonth)) as cursor:
        cursor.execute(
            statement("generated_month/biggest_organizations"), {"month": month, "rows": rows} | ALL_OF_EACH
        )
        return cursor.fetchall()


def find_failing_workflow(connection: psycopg.Connection, month: datetime) -> FailingWorkflow | None:
    """The workflow whose failures stand out most in the month; None where nothing failed unusually."""
    with connection.cursor(row_factory=class_row(FailingWorkflow)) as cursor:
        cursor.execute(statement("generated_month/standing_out_failures"), {"month": month} | ALL_OF_EACH)
        return cursor.fetchone()


def get_written(connection: psycopg.Connection, *, after: datetime | None = None) -> Written:
    """How many cells were written after a time; None, ever."""
    values: dict[str, Any] = {"after": after}
    with connection.cursor(row_factory=class_row(Written)) as cursor:
        written = cursor.execute(statement("checks/cells_computed_after"), values).fetchone()
    assert written is not None
    return written
