"""What an application does to its tables: rows with ids of its own, times without zone, in UTC."""

from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from tests.support.planting import MINUTE, NOON

_numbers = count()


@dataclass(frozen=True)
class Tenant:
    """An organization with two workflows and a client, ids as text."""

    organization: str
    workflows: tuple[str, ...]
    client: str


def cuid() -> str:
    """An id like those that Prisma makes up by default."""
    return f"clq{next(_numbers):022d}"


def uuid() -> str:
    """An id of a model that has uuid() for its default, in a column of text."""
    return f"1f0e{next(_numbers):04x}-9c4e-4b7a-8a51-3d2b6f0c7e11"


def plant_tenant(source: psycopg.Connection, name: str = "Acme", new_id: Any = cuid) -> Tenant:
    """Insert an organization with its workflows and its client."""
    tenant = Tenant(new_id(), (new_id(), new_id()), new_id())
    insert(source, "Organization", id=tenant.organization, name=name, updatedAt=wall_clock(NOON))
    for number, workflow in enumerate(tenant.workflows):
        owned = {"organizationId": tenant.organization, "updatedAt": wall_clock(NOON)}
        insert(source, "Workflow", id=workflow, name=f"{name} workflow {number}", **owned)
    insert(source, "Client", id=tenant.client, name=f"{name} client", **owned)
    return tenant


def plant_job(source: psycopg.Connection, tenant: Tenant, *, table: str = "Job", **columns: Any) -> str:
    """Insert a job that completed at noon UTC after a minute, except for the columns given."""
    completed = columns.pop("completed", NOON)
    job = {
        "id": cuid(),
        "organizationId": tenant.organization,
        "workflowId": tenant.workflows[0],
        "clientId": tenant.client,
        "initiatorType": "USER",
        "status": "COMPLETED",
        "result": '{"patient": "Jane-Doe-4711"}',
        "createdAt": wall_clock(completed - 2 * MINUTE),
        "startedAt": wall_clock(completed - MINUTE),
        "completedAt": wall_clock(completed),
        "updatedAt": wall_clock(completed),
    } | columns
    insert(source, table, **job)
    return str(job["id"])


def change_job(source: psycopg.Connection, job: str, **columns: Any) -> None:
    """Change columns of a job, and its `updatedAt` as Prisma does."""
    pairs = (SQL("{} = {}").format(Identifier(name), value) for name, value in columns.items())
    change = SQL('UPDATE "Job" SET {}, "updatedAt" = now() AT TIME ZONE {} WHERE "id" = {}')
    source.execute(change.format(SQL(", ").join(pairs), "UTC", job))


def insert(source: psycopg.Connection, table: str, **columns: Any) -> None:
    """Insert one row."""
    names = SQL(", ").join(map(Identifier, columns))
    values = SQL(", ").join(SQL("{}").format(value) for value in columns.values())
    source.execute(SQL("INSERT INTO {} ({}) VALUES ({})").format(Identifier(table), names, values))


def wall_clock(moment: datetime) -> datetime:
    """What Prisma writes into a column without zone: UTC, and no word of it."""
    return moment.replace(tzinfo=None)


def statements_of(script: str) -> list[str]:
    """The statements of a script, as whoever pastes it runs them: one by one."""
    statements, lines = [], []
    for line in script.splitlines():
        if not line.startswith("--"):
            lines.append(line)
            if line.endswith(";"):
                statements.append("\n".join(lines))
                lines = []
    assert lines == []
    return statements
