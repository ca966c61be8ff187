"""`execmetrics metadata` syncs, checks and reconciles, and says so in a table or in one JSON document."""

import pytest
from psycopg import Connection

from tests.postgres.cli.conftest import Execmetrics
from tests.support.metadata_oracle import copies, wrong
from tests.support.planting import plant_job, plant_tenant

NOBODY = "12345678-0000-4000-8000-000000000000"
SYNCED = {
    "organizations": 2,
    "organizations_waiting": 0,
    "rows_inserted": 0,
    "rows_updated": 0,
    "rows_deleted": 0,
    "left_alone": None,
}


def test_sync_check_and_reconcile_say_what_they_did(execmetrics: Execmetrics, source: Connection) -> None:
    """Drift ends a check with 1, and nothing else does; reconciling names it and is done with 0."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, theirs = plant_job(source, tenant), plant_job(source, neighbour)

    pending = execmetrics("metadata", "check", "--json")
    synced = execmetrics("metadata", "sync", "--json")
    equal = execmetrics("metadata", "check")
    source.execute(
        "UPDATE orchestration.execution_metadata SET workflow_name = 'Jane Roe' WHERE job_id = %s", [job]
    )
    drifted, table = execmetrics("metadata", "check", "--json"), execmetrics("metadata", "check")
    repaired = execmetrics("metadata", "reconcile", "--json")
    again = execmetrics("metadata", "reconcile")

    assert [ended.exit_code for ended in (pending, synced, equal, drifted, table)] == [0, 0, 0, 1, 1]
    assert [ended.exit_code for ended in (repaired, again)] == [0, 0]
    assert (pending.document["rows_pending"], pending.document["drifted"]) == (2, [])
    assert synced.document == SYNCED | {"rows_inserted": 2}
    assert equal.stdout == (
        "2 rows of 2 organizations compared with the source, 0 have drifted; 0 wait for the next sync.\n"
    )
    assert drifted.document["drifted"] == [
        {
            "organization_id": str(tenant.organization),
            "rows_compared": 1,
            "rows_pending": 0,
            "rows_missing": 0,
            "rows_left_over": 0,
            "rows_differing": 1,
            "columns": {"workflow_name": 1},
            "job_ids": [str(job)],
        }
    ]
    assert "workflow_name 1" in table.stdout
    assert str(job) in table.stdout
    assert str(theirs) not in table.stdout
    assert "Jane" not in table.stdout + drifted.stdout + repaired.stdout
    assert repaired.document == {"found": drifted.document, "sync": SYNCED | {"rows_updated": 1}}
    assert "0 have drifted" in again.stdout
    assert "rows updated" in again.stdout
    assert wrong(source) == []


def test_one_organization_can_be_named(execmetrics: Execmetrics, source: Connection) -> None:
    """`--organization`, an id or a name, leaves everybody else alone; one that nobody knows is refused."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, _ = plant_job(source, tenant), plant_job(source, neighbour)

    ended = execmetrics("metadata", "sync", "--organization", str(tenant.organization))
    by_name = execmetrics("metadata", "check", "--organization", "Acme", "--json")
    refused = [
        execmetrics("metadata", each, "--organization", NOBODY) for each in ("sync", "check", "reconcile")
    ]

    assert ended.exit_code == 0
    assert copies(source).keys() == {job}
    assert (by_name.exit_code, by_name.document["rows_compared"]) == (0, 1)
    for each in refused:
        assert (each.exit_code, each.stdout, each.stderr.count("\n")) == (2, "", 1)
        assert NOBODY in each.stderr


@pytest.mark.parametrize("command", ["sync", "check", "reconcile"])
def test_a_source_of_somebody_elses_is_left_alone(
    execmetrics: Execmetrics, source: Connection, command: str
) -> None:
    """One sentence, and exit code 0: there was nothing to do."""
    plant_job(source, plant_tenant(source))
    source.execute("DROP TABLE orchestration.execution_metadata")

    ended, document = execmetrics("metadata", command), execmetrics("metadata", command, "--json")

    assert (ended.exit_code, document.exit_code) == (0, 0)
    sentence = "The source has no table execution_metadata of ours, so there is nothing to sync."
    assert ended.stdout == f"{sentence}\n"
    assert sentence in document.stdout
