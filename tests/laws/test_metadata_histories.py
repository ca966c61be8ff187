"""Whatever happens to the source, and whenever it is synced: in the end the copy is a join of it."""

from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipelines.executions.metadata import SyncReport
from pipelines.postgres.connections import Run
from pipelines.runs.execution_metadata import find_drift, reconcile_metadata, sync_metadata
from tests.support.metadata_oracle import wrong
from tests.support.pipeline import Pipeline
from tests.support.planting import Tenant, plant_job, plant_tenant

EDITS = {
    "finish": "UPDATE orchestration.jobs SET status = 'COMPLETED', completed_at = now() WHERE id = %(job)s",
    "retry": "UPDATE orchestration.jobs SET status = 'RUNNING', completed_at = NULL WHERE id = %(job)s",
    "delete": "UPDATE orchestration.jobs SET deleted_at = now() WHERE id = %(job)s",
    "restore": "UPDATE orchestration.jobs SET deleted_at = NULL WHERE id = %(job)s",
    "remove": "DELETE FROM orchestration.jobs WHERE id = %(job)s",
    "other workflow": "UPDATE orchestration.jobs SET workflow_id = %(workflow)s WHERE id = %(job)s"
    " AND organization_id = %(organization)s",
    "other client": "UPDATE orchestration.jobs SET client_id = %(client)s WHERE id = %(job)s"
    " AND organization_id = %(organization)s",
    "move": "UPDATE orchestration.jobs SET organization_id = %(organization)s, workflow_id = %(workflow)s,"
    " client_id = %(client)s WHERE id = %(job)s",
    "rename workflow": "UPDATE orchestration.workflows SET name = name || '!' WHERE id = %(workflow)s",
    "rename client": "UPDATE orchestration.clients SET name = name || '!' WHERE id = %(client)s",
    "remove client": "DELETE FROM orchestration.clients WHERE id = %(client)s",
}
HANDS = {
    "edit by hand": "UPDATE orchestration.execution_metadata SET workflow_name = '?' WHERE job_id = %(job)s",
    "delete by hand": "DELETE FROM orchestration.execution_metadata WHERE job_id = %(job)s",
}
SYNCS = ("sync all", "sync one", "sync fully")

whats = st.sampled_from(["insert", *EDITS, *HANDS, *SYNCS])
some_step = st.tuples(whats, st.integers(0, 5), st.integers(0, 1), st.integers(0, 1))
some_steps = st.lists(some_step, min_size=4, max_size=25)


@pytest.fixture
def spectated(pipeline: Pipeline) -> Pipeline:
    """A source with a neighbour to whom nothing happens."""
    pipeline.plant_job(pipeline.plant_tenant("Spectator"))
    return pipeline


@examples(max_examples=20, suppress_health_check=list(HealthCheck), database=None)
@given(steps=some_steps)
@example(steps=[("rename workflow", 0, 0, 0)])
@example(steps=[("rename client", 0, 1, 0)])
@example(steps=[("move", 0, 1, 1), ("sync one", 0, 0, 0), ("remove client", 0, 1, 1)])
def test_every_history_ends_in_a_join(steps: list[tuple[str, int, int, int]], spectated: Pipeline) -> None:
    """But for what was edited by hand, which reconciling repairs; and then nothing is left to write."""
    databases, settings, source = spectated.databases, spectated.settings, spectated.source
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    jobs = [plant_job(source, tenant) for tenant in tenants]
    touched = set()
    sync_metadata(Run(databases, settings))
    for what, job, which, part in steps:
        tenant = tenants[which]
        if what == "insert":
            client = [*tenant.clients, None][job % 3]
            known = source.execute("SELECT FROM orchestration.clients WHERE id = %s", [client]).fetchone()
            workflow = tenant.workflows[part]
            jobs.append(plant_job(source, tenant, workflow_id=workflow, client_id=client if known else None))
        elif what in SYNCS:
            only = [tenant.organization] if what == "sync one" else []
            sync_metadata(Run(databases, settings), organization_ids=only, full=what == "sync fully")
        else:
            edited = jobs[job % len(jobs)]
            touched |= {edited} if what in HANDS else set()
            edit(source, (EDITS | HANDS)[what], edited, tenant, part)

    sync_metadata(Run(databases, settings))
    drifted = {row[0] for row in wrong(source)}
    found = find_drift(Run(databases, settings))
    repaired = reconcile_metadata(Run(databases, settings)).sync

    assert drifted <= touched
    assert sum(each.rows_drifted for each in found.drifted) == len(drifted)
    assert repaired.rows_inserted + repaired.rows_updated == len(drifted)
    assert wrong(source) == []
    everyone = source.execute("SELECT count(*) FROM orchestration.organizations").fetchone()[0]
    assert sync_metadata(Run(databases, settings), full=True) == SyncReport(organizations=everyone)


def edit(source: psycopg.Connection, statement: str, job: Any, tenant: Tenant, part: int) -> None:
    """Carry out an edit, unless the client that it names is gone by now."""
    values = {"job": job, "organization": tenant.organization}
    values |= {"workflow": tenant.workflows[part], "client": tenant.clients[part]}
    with suppress(psycopg.errors.ForeignKeyViolation):
        source.execute(statement, values)
