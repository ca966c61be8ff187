"""A short history with every kind of change in it, for runs that are cut off in the middle."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from tests.support.oracle import Cells, cells_by_sql
from tests.support.planting import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    Tenant,
    change_job,
    live_in,
    plant_job,
    plant_jobs,
    plant_lines,
    plant_tenant,
    without_constraints,
)  # fmt: skip

SINCE, UNTIL = NOON - 100 * DAY, NOON + 100 * DAY

NOWHERE = "Mars/Olympus_Mons"


def _steps(number: int) -> list[dict[str, Any]]:
    return [
        {"step_name": "open", "duration_ms": 100 * number, "timestamp": NOON + number * DAY},
        {"step_name": "send", "duration_ms": 7, "level": "WARN", "timestamp": NOON - number * DAY},
    ]


@dataclass(frozen=True)
class History:
    """Its members are two organizations to which all kinds of things happen, one that is left alone, and one
    that has trouble."""

    url: str
    source: psycopg.Connection
    acme: Tenant
    borealis: Tenant
    neighbour: Tenant
    troubled: Tenant
    acmes: tuple[UUID, ...]
    boreals: tuple[UUID, ...]

    @classmethod
    def begun(cls, url: str, source: psycopg.Connection) -> "History":
        """Plant four organizations, their days by three kinds of clocks, with a few jobs each."""
        without_constraints(source)
        names = ("Acme", "Borealis", "Neighbour", "Troubled")
        acme, borealis, neighbour, troubled = (plant_tenant(source, name) for name in names)
        live_in(source, acme, "America/New_York")
        live_in(source, neighbour, "Europe/Berlin")
        plant_jobs(source, neighbour, [{}, {"completed_at": NOON + DAY, "status": "FAILED"}])
        jobs: list[dict[str, Any]] = [
            {},
            {"completed_at": NOON + HOUR, "status": "FAILED"},
            {"completed_at": NOON + 8 * DAY, "workflow_id": acme.workflows[1]},
            {"completed_at": NOON + 8 * DAY, "client_id": None},
            {"initiator_type": None, "started_at": NOON + MINUTE},
            {"started_at": None},
            {"completed_at": NOON + 2 * DAY},
        ]
        acmes = plant_jobs(source, acme, jobs)
        jobs = [
            {"completed_at": NOON - 12 * HOUR},
            {"completed_at": NOON + 11 * HOUR, "workflow_id": borealis.workflows[1]},
            {"completed_at": NOON + 30 * DAY, "status": "FAILED"},
            {"deleted_at": NOON},
            {"completed_at": NOON + 3 * DAY},
        ]
        boreals = plant_jobs(source, borealis, jobs)
        plant_job(source, troubled)
        for tenant, jobs in ((acme, acmes), (borealis, boreals)):
            for number, job in enumerate(jobs):
                plant_lines(source, tenant, job, _steps(number))
        return cls(url, source, acme, borealis, neighbour, troubled, acmes, boreals)

    def goes_on(self) -> None:
        """Let everything happen that a refresh has to follow, and an organization join."""
        source, acme, borealis = self.source, self.acme, self.borealis
        # New, and late.
        plant_job(source, acme, completed_at=NOON + 2 * HOUR)
        plant_job(source, borealis, completed_at=NOON - 70 * DAY)
        # Retried: one still runs, one ended differently.
        change_job(source, self.acmes[0], status="RUNNING", completed_at=None)
        change_job(source, self.boreals[2], status="COMPLETED", completed_at=NOON + 31 * DAY)
        # Edited, and moved to another organization.
        later = {"started_at": NOON + 20 * DAY - MINUTE, "completed_at": NOON + 20 * DAY}
        change_job(source, self.acmes[2], workflow_id=acme.workflows[0], **later)
        place = {"organization_id": borealis.organization, "workflow_id": borealis.workflows[0]}
        change_job(source, self.acmes[3], **place)
        # A step comes late, and one is edited.
        plant_lines(source, acme, self.acmes[2], [{"step_name": "send", "timestamp": NOON - 40 * DAY}])
        edit = "UPDATE orchestration.execution_logs SET level = 'FATAL' WHERE job_id = %s"
        source.execute(edit, [self.boreals[4]])
        # Deleted and restored.
        change_job(source, self.acmes[1], deleted_at=NOON)
        change_job(source, self.boreals[3], deleted_at=None)
        # One anomaly is repaired and another turns up; a third comes with a workflow that changes hands.
        change_job(source, self.acmes[5], started_at=NOON - MINUTE)
        change_job(source, self.boreals[0], started_at=NOON + DAY)
        sell = "UPDATE orchestration.workflows SET organization_id = %s, name = 'Sold' WHERE id = %s"
        source.execute(sell, [acme.organization, borealis.workflows[1]])
        rename = "UPDATE orchestration.workflows SET name = 'Renamed' WHERE id = %s"
        source.execute(rename, [acme.workflows[0]])
        live_in(source, borealis, "Asia/Tokyo")
        plant_jobs(source, plant_tenant(source, "Cadmus"), [{}, {"completed_at": NOON + 40 * DAY}])
        # Nobody can tell where its days begin.
        plant_job(source, self.troubled, completed_at=NOON + DAY)
        live_in(source, self.troubled, NOWHERE)

    def loses_jobs(self) -> None:
        """Delete jobs for good, which only a checksum comparison can find."""
        lost = [self.acmes[6], self.boreals[4]]
        self.source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [lost])

    def has_a_backlog(self, jobs: int) -> None:
        """Insert many jobs that have not begun."""
        self.source.execute(
            "INSERT INTO orchestration.jobs (id, organization_id, workflow_id, status, created_at)"
            " SELECT gen_random_uuid(), %s, %s, 'PENDING', %s FROM generate_series(1, %s)",
            [self.acme.organization, self.acme.workflows[0], NOON, jobs],
        )

    def cells(self) -> Cells:
        """What the cells should be: those of plain SQL, without jobs of somebody else's workflow.

        An organization in no zone is left out: it keeps the cells it had.
        """
        with self.source.transaction(force_rollback=True):
            self.source.execute(
                "UPDATE orchestration.jobs SET deleted_at = now() FROM orchestration.workflows"
                " WHERE workflows.id = workflow_id AND workflows.organization_id <> jobs.organization_id"
            )
            self.source.execute(
                "WITH nowhere AS (UPDATE orchestration.organizations SET time_zone = 'UTC'"
                " WHERE time_zone = %s RETURNING id)"
                " UPDATE orchestration.jobs SET deleted_at = now() FROM nowhere"
                " WHERE organization_id = nowhere.id",
                [NOWHERE],
            )
            return cells_by_sql(self.source)

    def in_no_zone(self) -> UUID | None:
        """The organization that lives in no zone, if it does by now."""
        select = "SELECT id FROM orchestration.organizations WHERE time_zone = %s"
        row = self.source.execute(select, [NOWHERE]).fetchone()
        return row and row[0]

    def owners(self) -> dict[UUID, UUID]:
        """The organization of each job now."""
        return dict(self.source.execute("SELECT id, organization_id FROM orchestration.jobs").fetchall())
