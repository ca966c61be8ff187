"""What the reporting commands print: one JSON document, or tables, and an exit code."""

from datetime import datetime

import psycopg
import pytest

from tests.cli.conftest import Execmetrics
from tests.planting import DAY, NOON, cells, change_job, plant_job, plant_jobs, plant_tenant

REFRESHED = {
    "organizations",
    "jobs_read",
    "facts_inserted",
    "facts_updated",
    "facts_deleted",
    "cells_computed",
    "cells_written",
    "cells_deleted",
    "anomalies",
    "seconds",
}


def test_a_refresh_reports_what_it_did(
    execmetrics: Execmetrics, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The document has the figures of the pass and the seconds of each stage; stderr stays empty."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    ended = execmetrics("refresh", "--json")

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert set(ended.document) == REFRESHED
    assert ended.document["jobs_read"] == 2
    assert ended.document["cells_written"] == len(cells(analytics))
    assert set(ended.document["seconds"]) == {"extract", "facts", "compute", "publish", "total"}


def test_a_refresh_can_be_of_one_organization(
    execmetrics: Execmetrics, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """`--organization` may be given several times, and everybody else stays as they were."""
    one, other, neighbour = (plant_tenant(source, name) for name in ("One", "Other", "Neighbour"))
    for tenant in (one, other, neighbour):
        plant_job(source, tenant)

    ended = execmetrics(
        *("refresh", "--organization", str(one.organization), "--organization", str(other.organization))
    )

    assert ended.exit_code == 0
    assert "cells written" in ended.stdout
    assert cells(analytics, one.organization)
    assert cells(analytics, other.organization)
    assert not cells(analytics, neighbour.organization)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2024-01-31", "2024-02-01"),
        ("2024-01-31T14:00:00+02:00", "2024-01-31T07:00:00.000001-05:00"),
        ("2024-01-31t12:00:00z", "2024-01-31 12:01:00Z"),
    ],
)
def test_a_reconciled_range_is_exact(
    execmetrics: Execmetrics,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    since: str,
    until: str,
) -> None:
    """A job that was deleted from the source leaves the cells when its completion is in the range."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    gone, just_before, just_after = plant_jobs(
        source, tenant, [{}, {"completed_at": NOON - DAY}, {"completed_at": NOON + DAY}]
    )
    plant_job(source, neighbour)
    execmetrics("refresh")
    source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [[gone, just_before, just_after]])

    ended = execmetrics("reconcile", "--since", since, "--until", until, "--json")

    assert ended.exit_code == 0
    assert set(ended.document) == REFRESHED
    assert ended.document["facts_deleted"] == 1
    assert cells(analytics, neighbour.organization)


def test_status_counts_cells_per_job(execmetrics: Execmetrics, source: psycopg.Connection) -> None:
    """Each organization has its progress and its cost, and so have all together."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_jobs(source, neighbour, [{}, {}])
    execmetrics("refresh")

    ended = execmetrics("status", "--json")

    assert ended.exit_code == 0
    assert set(ended.document) == {"organizations", "facts_version", "jobs", "cells", "cells_per_job"}
    biggest, smallest = ended.document["organizations"]
    assert set(biggest) == {
        "organization_id",
        "name",
        "complete_through",
        "cursor",
        "jobs",
        "cells",
        "anomalies",
        "cells_per_job",
    }
    assert (biggest["organization_id"], biggest["name"]) == (str(neighbour.organization), "Neighbour")
    assert (biggest["jobs"], biggest["cells"], biggest["cells_per_job"]) == (2, 27, 13.5)
    assert (smallest["organization_id"], smallest["cells_per_job"]) == (str(tenant.organization), 27)
    assert datetime.fromisoformat(biggest["complete_through"]).utcoffset() is not None


def test_a_name_is_shown_as_it_is(execmetrics: Execmetrics, source: psycopg.Connection) -> None:
    """Markup in a tenant's name is text, and control characters do not reach the terminal."""
    plant_job(source, plant_tenant(source, "[red]Acme[/red] :smile: \x1b[31m"))
    execmetrics("refresh")

    ended = execmetrics("status")

    assert "[red]Acme[/red] :smile: " in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "1 jobs of 1 organizations in 27 cells, 27.00 per job." in ended.stdout


def test_verify_agrees(execmetrics: Execmetrics, source: psycopg.Connection) -> None:
    """Without differences the exit code is 0, and the cells that wait for a refresh are counted apart."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    changing = plant_job(source, tenant)
    plant_job(source, neighbour)
    execmetrics("refresh")
    change_job(source, changing, status="FAILED")

    ended = execmetrics("verify", "--json")

    assert ended.exit_code == 0
    assert ended.document == {
        "organizations": 2,
        "cells_compared": 27,
        "cells_pending": 27,
        "differences": [],
    }


def test_verify_prints_each_difference(
    execmetrics: Execmetrics, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A figure that differs makes the exit code 1 and is named with its cell, stored and expected."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    execmetrics("refresh")
    analytics.execute(
        "UPDATE analytics.aggregate_metrics SET total_duration_ms = 5"
        " WHERE organization_id = %s AND period = 'hour' AND initiator_type <> 'all'",
        [tenant.organization],
    )

    document, table = execmetrics("verify", "--json"), execmetrics("verify")

    assert (document.exit_code, table.exit_code) == (1, 1)
    (difference,) = document.document["differences"]
    assert difference == {
        "organization_id": str(tenant.organization),
        "period": "hour",
        "period_start": "2024-01-31T12:00:00+00:00",
        "workflow_id": "00000000-0000-0000-0000-000000000000",
        "client_id": "00000000-0000-0000-0000-000000000000",
        "initiator_type": "USER",
        "column": "total_duration_ms",
        "stored": 5.0,
        "expected": 60_000.0,
    }
    assert "60,000.000" in table.stdout
    assert "54 cells of 2 organizations compared with the source, 1 differences" in table.stdout


def test_verify_can_look_at_a_part(
    execmetrics: Execmetrics, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A range and an organization leave other cells out, wrong ones included."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    execmetrics("refresh")
    analytics.execute(
        "UPDATE analytics.aggregate_metrics SET total_duration_ms = 5"
        " WHERE organization_id = %s OR period = 'month'",
        [neighbour.organization],
    )

    ended = execmetrics(
        *("verify", "--json", "--organization", str(tenant.organization)),
        *("--since", "2024-01-31", "--until", "2024-02-01"),
    )

    assert ended.exit_code == 0
    # An hour in 4 and a day in 7 combinations; the week and the month began before.
    assert ended.document["cells_compared"] == 11


def test_migrate_says_what_became_of_each_schema(execmetrics: Execmetrics) -> None:
    """A second migration changes nothing and says so."""
    document, lines = execmetrics("migrate", "--json"), execmetrics("migrate")

    assert (document.exit_code, lines.exit_code) == (0, 0)
    assert document.document["changed"] is False
    assert [branch["branch"] for branch in document.document["branches"]] == ["orchestration", "analytics"]
    assert "analytics: nothing to do" in lines.stdout
