"""A month of work at clinics that do not exist: what the demo shows and the benchmark measures."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, Final, TypeVar
from uuid import UUID

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from pipelines.errors import SchemaMissing
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION
from pipelines.postgres.statements import render, statement
from pipelines.subjects.dimensions import ALL_OF_EACH

T = TypeVar("T")

# Past whatever the clock says, thirty days and a Monday first, so that the figures stay those of the README.
FIRST_DAY: Final = datetime(2026, 6, 1, tzinfo=UTC)

# Failed jobs are tried again as new jobs, which are part of the number asked for.
_JOBS_PER_PLANNED_JOB: Final = 1.0224

_SKETCH: Final = (
    *("draw", "month_organizations", "month_workflows", "month_clients", "month_hours", "month_days"),
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
    def organization_ids(self) -> list[UUID]:
        keys = (f"{self.name}/organization/{rank}" for rank in range(1, self.organizations + 1))
        return [UUID(md5(key.encode(), usedforsecurity=False).hexdigest()) for key in keys]

    @property
    def parameters(self) -> dict[str, Any]:
        jobs, ids = round(self.jobs / _JOBS_PER_PLANNED_JOB), self.organization_ids
        plan = {"month": self.name, "seed": self.seed, "since": self.start, "days": self.days}
        return plan | {"jobs": jobs, "organization_ids": ids}


def generate_month(
    run: Run,
    *,
    organizations: int = _Plan.organizations,
    jobs: int = _Plan.jobs,
    days: int = _Plan.days,
    start: datetime = _Plan.start,
    seed: int = _Plan.seed,
) -> GeneratedMonth:
    """Write about that many jobs into the source, all or none; a month that is there is left alone."""
    plan = _Plan(organizations, jobs, days, start, seed)
    parameters = plan.parameters
    try:
        with connect(run.databases.source_url, run.settings) as connection:
            for sketch in _SKETCH:
                _run(connection, sketch, parameters)
            created = _insert(connection, parameters, "organizations", "id, name, time_zone") > 0
            if created:
                _fill(connection, parameters, run.stages.tell)
            bad_deployment = _first(connection, BadDeployment, "generated_month/bad_deployment", parameters)
            ((workflows, clients, written),) = _run(connection, "month_extent", parameters)
        if created:
            with connect(run.databases.source_url, run.settings, autocommit=True) as connection:
                _run(connection, "analyze_source")
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as missing:
        raise SchemaMissing from missing
    assert bad_deployment is not None
    until, ids = start + timedelta(days=days), tuple(plan.organization_ids)
    return GeneratedMonth(created, ids, workflows, clients, written, start, until, bad_deployment)


def serves_others(run: Run, *, jobs: int = _Plan.jobs) -> bool:
    """Whether source or aggregates hold organizations that a month of that many jobs does not consist of."""
    ours = {"organization_ids": _Plan(jobs=jobs).organization_ids}
    for schema, url in ((ORCHESTRATION, run.databases.source_url), (ANALYTICS, run.databases.analytics_url)):
        with connect(url, run.settings) as connection:
            ((there,),) = _run(connection, "table_exists", {"name": f"{schema}.organizations"})
            if there:
                others = render("generated_month/other_organizations", {"schema": schema}).encode()
                if connection.execute(others, ours).fetchone() == (True,):
                    return True
    return False


def find_biggest_organizations(
    connection: psycopg.Connection, month: datetime, *, rows: int = 5
) -> list[OrganizationMonth]:
    """The organizations with the most jobs that completed in the month, the biggest first."""
    values = {"month": month, "rows": rows} | ALL_OF_EACH
    with connection.cursor(row_factory=class_row(OrganizationMonth)) as cursor:
        return cursor.execute(statement("generated_month/biggest_organizations"), values).fetchall()


def find_failing_workflow(connection: psycopg.Connection, month: datetime) -> FailingWorkflow | None:
    """The workflow whose failures stand out most in the month; None where nothing failed unusually."""
    asked = {"month": month} | ALL_OF_EACH
    return _first(connection, FailingWorkflow, "generated_month/standing_out_failures", asked)


def get_written(connection: psycopg.Connection, *, after: datetime | None = None) -> Written:
    """How many cells were written after a time; None, ever."""
    written = _first(connection, Written, "checks/cells_computed_after", {"after": after})
    assert written is not None
    return written


def _fill(
    connection: psycopg.Connection, parameters: dict[str, Any], progress: Callable[[str, int], None]
) -> None:
    for table in ("workflows", "clients"):
        _insert(connection, parameters, table, "organization_id, id, name")
    _run(connection, "sort_in_memory")
    with suppress(InsufficientPrivilege), connection.transaction():
        _run(connection, "trust_foreign_keys")
    written = 0
    for day in range(parameters["days"]):
        written += _run(connection, "insert_jobs_of_a_day", parameters | {"day": day}).rowcount
        progress("generate", written)


def _insert(connection: psycopg.Connection, parameters: dict[str, Any], table: str, columns: str) -> int:
    places = {"table": table, "columns": columns}
    return connection.execute(render("generated_month/insert_named", places).encode(), parameters).rowcount


def _run(
    connection: psycopg.Connection, name: str, parameters: dict[str, Any] | None = None
) -> psycopg.Cursor:
    return connection.execute(statement(f"generated_month/{name}"), parameters)


def _first(connection: psycopg.Connection, kind: type[T], name: str, values: dict[str, Any]) -> T | None:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(statement(name), values).fetchone()
