"""What a deleted row takes along, what it leaves, and who still sees one that is only marked as deleted."""

from datetime import datetime
from uuid import UUID

import psycopg
import pytest

from pipelines.errors import JobNotVisible, WorkflowNotVisible
from tests.postgres.executions.conftest import Begin, plant_child, plant_screenshot
from tests.support.planting import NOON, Tenant, plant_job

CHILDREN = ("execution_logs", "execution_screenshots", "execution_rag_rules", "execution_metadata")


def plant_execution(source: psycopg.Connection, tenant: Tenant) -> UUID:
    """A job with a row in every table of its children."""
    job = plant_job(source, tenant)
    plant_screenshot(source, tenant, job)
    plant_child(source, tenant, job, "execution_logs", sequence=0, level="INFO")
    plant_child(source, tenant, job, "execution_rag_rules")
    named = {"workflow_id": tenant.workflows[0], "workflow_name": "Intake", "status": "COMPLETED"}
    named |= {"client_id": tenant.clients[0], "client_name": "Clinic"}
    plant_child(source, tenant, job, "execution_metadata", **named, created_at=NOON, last_synced_at=NOON)
    return job


@pytest.mark.every_postgres
@pytest.mark.parametrize("deleted", ["jobs", "workflows", "organizations"])
def test_a_deleted_row_takes_its_children_along(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant, deleted: str
) -> None:
    """Logs, pictures, rules and metadata go with their job; a neighbour's and the log of accesses stay."""
    job, theirs = plant_execution(source, acme), plant_execution(source, neighbour)
    with begin(acme) as work:
        work.jobs.find_result(job)
    key = {"jobs": job, "workflows": acme.workflows[0], "organizations": acme.organization}[deleted]

    source.execute(f"DELETE FROM orchestration.{deleted} WHERE id = %s", [key])

    assert source.execute("SELECT id FROM orchestration.jobs").fetchall() == [(theirs,)]
    for table in CHILDREN:
        assert source.execute(f"SELECT job_id FROM orchestration.{table}").fetchall() == [(theirs,)]
    assert source.execute("SELECT job_id FROM orchestration.phi_access_log").fetchall() == [(job,)]


@pytest.mark.every_postgres
def test_a_deleted_client_leaves_its_jobs(
    source: psycopg.Connection, acme: Tenant, neighbour: Tenant
) -> None:
    """Without a client, and still of their organization; nobody else's lose theirs."""
    job, theirs = plant_execution(source, acme), plant_execution(source, neighbour)

    source.execute("DELETE FROM orchestration.clients WHERE id = %s", [acme.clients[0]])

    found = source.execute("SELECT id, organization_id, client_id FROM orchestration.jobs")
    assert set(found.fetchall()) == {
        (job, acme.organization, None),
        (theirs, neighbour.organization, neighbour.clients[0]),
    }


# What each question is asked about.
QUESTIONS = {
    "jobs.find_by_id": "job",
    "jobs.find_result": "job",
    "workflows.find_by_id": "workflow",
    "workflows.find_definition": "workflow",
    "screenshots.find_by_job": "job",
    "screenshots.find_by_organization": None,
    "rag_rules.find_by_job": "job",
}

TABLES = {"jobs": "jobs", "workflows": "workflows"} | {
    "screenshots": "execution_screenshots",
    "rag_rules": "execution_rag_rules",
}


def test_a_deleted_row_is_there_only_if_it_is_asked_for(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """By every question of every repository; what is of a deleted job is deleted with it."""
    mine = {"job": plant_execution(source, acme), "workflow": acme.workflows[0]}
    theirs = {"job": plant_execution(source, neighbour), "workflow": neighbour.workflows[0]}

    with begin(acme) as work:
        for question, about in QUESTIONS.items():
            repository, _, method = question.partition(".")
            ask, table = getattr(getattr(work, repository), method), TABLES[repository]
            key = [mine[about]] if about else []
            there = ask(*key)
            assert there
            assert ask(*key, include_deleted=True) == there
            for deleted in {table, table if table == "workflows" else "jobs"}:
                mark(source, deleted, acme, NOON)
                assert not ask(*key)
                assert ask(*key, include_deleted=True)
                mark(source, deleted, acme, None)
            mark(source, table, neighbour, NOON)
            assert ask(*key) == there
            if about:
                assert not ask(theirs[about], include_deleted=True)


def test_deleting_marks_the_tenants_own_row(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """The row stays, its `updated_at` moves so that the metrics see it, and a second time there is none."""
    job, theirs = plant_execution(source, acme), plant_execution(source, neighbour)
    picture, their_picture = (screenshot_of(source, each) for each in (job, theirs))
    deletions: list[tuple[str, str, UUID, UUID]] = [
        ("rag_rules", "job_id", job, theirs),
        ("screenshots", "id", picture, their_picture),
        ("jobs", "id", job, theirs),
        ("workflows", "id", acme.workflows[0], neighbour.workflows[0]),
    ]

    with begin(acme) as work:
        for repository, _, mine, others in deletions:
            delete = getattr(work, repository).delete
            assert (delete(mine), delete(mine), delete(others)) == (True, False, False)
        with pytest.raises(JobNotVisible):
            work.rag_rules.create(job, payers=[], rules=[])
        with pytest.raises(WorkflowNotVisible):
            work.workflows.create_definition(acme.workflows[0], {})
        work.commit()

    for repository, key, mine, _ in deletions:
        marked = source.execute(
            f"SELECT {key}, updated_at > now() - interval '1 minute' FROM orchestration.{TABLES[repository]}"
            " WHERE deleted_at IS NOT NULL"
        )
        assert marked.fetchall() == [(mine, True)]


def mark(source: psycopg.Connection, table: str, tenant: Tenant, deleted_at: datetime | None) -> None:
    """Soft-delete a tenant's rows of a table, or bring them back."""
    source.execute(
        f"UPDATE orchestration.{table} SET deleted_at = %s WHERE organization_id = %s",
        [deleted_at, tenant.organization],
    )


def screenshot_of(source: psycopg.Connection, job: UUID) -> UUID:
    """The id of a job's one screenshot."""
    return source.execute(
        "SELECT id FROM orchestration.execution_screenshots WHERE job_id = %s", [job]
    ).fetchone()[0]
