"""What `execmetrics explain` prints of one cell."""

import re
from datetime import UTC, datetime

import pytest
from psycopg import Connection

from pipelines.cli.reports import _BECAUSE, _NOT_ON_RECORD
from pipelines.runs.explain import Evidence, Occasion
from pipelines.subjects.reasons import Restated
from tests.postgres.cli.conftest import Ended, Execmetrics
from tests.support.planting import DAY, MINUTE, NOON, Tenant, change_job, plant_job, plant_tenant

NIL = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def tenant(source: Connection, execmetrics: Execmetrics) -> Tenant:
    """A refreshed organization with a job, and a neighbour with another; a late one comes afterwards."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant, client_id=None, initiator_type=None)
    plant_job(source, neighbour)
    execmetrics("refresh")
    plant_job(source, tenant, started_at=NOON - 3 * MINUTE, status="FAILED")
    execmetrics("refresh")
    return tenant


def test_a_cell_is_one_document(execmetrics: Execmetrics, tenant: Tenant) -> None:
    """With its key, its figures, its jobs, why it changed, and every restatement with both sides."""
    ended = explain(execmetrics, tenant, "--json")

    assert (ended.exit_code, ended.stderr) == (0, "")
    said = ended.document
    (restatement,) = said.pop("restatements")
    figures, changed_at = said.pop("figures"), datetime.fromisoformat(said.pop("changed_at"))
    assert said == {
        "organization_id": str(tenant.organization),
        "period": "day",
        "period_start": "2024-01-31T00:00:00+00:00",
        "period_end": "2024-02-01T00:00:00+00:00",
        "time_zone": "UTC",
        "cell": {"workflow_id": NIL, "client_id": NIL, "initiator_type": "all"},
        "rows": 2,
        "is_over": True,
        "because": "late",
        "definition_version": 1,
        "as_of": None,
    }
    assert (figures["total_executions"], figures["median_duration_ms"]) == (2, 120_000.0)
    assert restatement["new"] == figures
    assert (restatement["old"]["total_executions"], restatement["old"]["median_duration_ms"]) == (1, 60_000.0)
    assert restatement["reason"] == "late"
    assert changed_at <= datetime.fromisoformat(restatement["restated_at"])


def test_a_cell_is_told_to_a_person(execmetrics: Execmetrics, tenant: Tenant) -> None:
    """In sentences around two tables: the figures, and how they changed."""
    shown = explain(execmetrics, tenant).stdout

    assert (
        f"The day from 2024-01-31 00:00:00Z to 2024-02-01 00:00:00Z (UTC) of {tenant.organization}:"
        " workflow all, client all, initiator all."
    ) in shown
    assert re.search(r"median duration ms +120,000\.000\b", shown)
    assert "It counts 2 jobs, as many as there are in the facts." in shown
    assert ": a job came late." in shown
    assert "1 → 2" in shown
    assert "60,000.000 → 120,000.000" in shown
    assert "still open" not in shown


def test_an_earlier_value_is_told_beside_the_present_one(execmetrics: Execmetrics, tenant: Tenant) -> None:
    """The old figures of the restatement that came after, and how long they stood."""
    restated_at = explain(execmetrics, tenant, "--json").document["restatements"][0]["restated_at"]
    before = (datetime.fromisoformat(restated_at) - MINUTE / 60_000_000).isoformat()

    table = explain(execmetrics, tenant, "--as-of", before)
    document = explain(execmetrics, tenant, "--as-of", before, "--json")

    then = f"{before[:10]} {before[11:19]}Z"
    assert re.search(rf"It showed these figures at {then}: since [0-9: Z-]+, until {then}", table.stdout)
    assert re.search(rf"now +at {then}\n", table.stdout)
    assert re.search(r"median duration ms +120,000\.000 +60,000\.000\n", table.stdout)
    said = document.document["as_of"]
    assert (said["on_record"], said["evidence"], said["until"]) == (True, "restated", restated_at)
    assert said["figures"]["total_executions"] == 1


def test_what_is_not_on_record_is_said_so(execmetrics: Execmetrics, tenant: Tenant) -> None:
    """No figure is made up for a moment of which nothing is kept."""
    table = explain(execmetrics, tenant, "--as-of", "2024-01-31T13:00:00Z")
    document = explain(execmetrics, tenant, "--as-of", "2024-03-01", "--json")

    assert "What it showed at 2024-01-31 13:00:00Z is not on record: its period was not over" in table.stdout
    assert (document.document["as_of"]["on_record"], document.document["as_of"]["figures"]) == (False, None)


@pytest.mark.parametrize(
    ("arguments", "key", "total"),
    [
        (["--client", "none"], (NIL, "ffffffff-ffff-ffff-ffff-ffffffffffff", "all"), 1),
        (["--initiator", "unknown"], (NIL, NIL, "unknown"), 1),
        (["--initiator", "USER", "--client", "all"], (NIL, NIL, "USER"), 1),
        (["--workflow", "all", "--initiator", "all"], (NIL, NIL, "all"), 2),
    ],
)
def test_dimensions_have_words(
    execmetrics: Execmetrics, tenant: Tenant, arguments: list[str], key: tuple[str, ...], total: int
) -> None:
    """`all`, `none` and `unknown` stand for their sentinels, and an id for itself."""
    said = explain(execmetrics, tenant, *arguments, "--json").document
    one = explain(execmetrics, tenant, *arguments, "--workflow", str(tenant.workflows[0]), "--json").document

    assert tuple(said["cell"].values()) == key
    assert (said["rows"], said["figures"]["total_executions"]) == (total, total)
    assert one["cell"]["workflow_id"] == str(tenant.workflows[0])


def test_a_cell_without_jobs_is_told_as_gone(
    execmetrics: Execmetrics, source: Connection, tenant: Tenant
) -> None:
    """It has no figures, only what it was."""
    job = plant_job(source, tenant, completed_at=NOON + 9 * DAY)
    execmetrics("refresh")
    change_job(source, job, deleted_at=NOON)
    execmetrics("refresh")

    ended = explain(execmetrics, tenant, start="2024-02-09")

    assert ended.exit_code == 0
    assert "It counts 0 jobs" in ended.stdout
    assert "It was removed at " in ended.stdout
    assert "a job was deleted." in ended.stdout


def test_a_growing_cell_is_told_as_such(execmetrics: Execmetrics, source: Connection, tenant: Tenant) -> None:
    """Nothing is restated while its period is open."""
    now = datetime.now(UTC)
    plant_job(source, tenant, completed_at=now - MINUTE)
    execmetrics("refresh")

    ended = explain(execmetrics, tenant, "--period", "month", start=(now - MINUTE).isoformat())

    assert "its period was still open" in ended.stdout
    assert "so it grows without being restated" in ended.stdout
    assert "No restatement of it is on record." in ended.stdout


def test_facts_that_differ_are_told(execmetrics: Execmetrics, analytics: Connection, tenant: Tenant) -> None:
    """A cell that somebody else wrote to counts other jobs than the facts."""
    analytics.execute(
        "UPDATE analytics.aggregate_metrics"
        " SET total_executions = 7, failed_executions = 7 - completed_executions"
        " WHERE organization_id = %s AND period = 'day' AND initiator_type = 'all'",
        [tenant.organization],
    )

    ended = explain(execmetrics, tenant)

    assert "It counts 7 jobs, and the facts hold 2:" in ended.stdout


def test_every_reason_has_words() -> None:
    """Whatever may be the reason of a change, or of not knowing, can be said."""
    assert _BECAUSE.keys() == {*Restated, *Occasion}
    assert _NOT_ON_RECORD.keys() == {*Evidence} - {Evidence.UNCHANGED, Evidence.RESTATED}


def explain(execmetrics: Execmetrics, tenant: Tenant, *arguments: str, start: str = "2024-01-31") -> Ended:
    """Explain a day of the tenant, or what the arguments name."""
    return execmetrics(
        *("explain", "--organization", str(tenant.organization), "--period", "day", "--start", start),
        *arguments,
    )
