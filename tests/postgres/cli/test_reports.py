"""What the reporting commands print: one JSON document, or tables, and an exit code."""

from datetime import UTC, datetime

import pytest
from psycopg import Connection

from pipelines.extract.request import Request
from pipelines.facts.folder import set_aside
from tests.postgres.cli.conftest import Execmetrics
from tests.support.pipeline import Pipeline, live_in
from tests.support.planting import (
    DAY,
    MINUTE,
    NOON,
    change_job,
    plant_job,
    plant_jobs,
    plant_lines,
    plant_tenant,
)

NIL = "00000000-0000-0000-0000-000000000000"
REFRESHED = {
    "not_counted",
    "organizations",
    "rows_read",
    "facts_inserted",
    "facts_updated",
    "facts_deleted",
    "cells_computed",
    "cells_written",
    "cells_deleted",
    "cells_restated",
    "anomalies",
    "failed",
    "steps",
    "seconds",
}
STAGES = {
    *("extract", "facts", "compute", "publish", "total", "snapshot", "longest_statement"),
    *("extract_steps", "compute_steps", "publish_steps", "snapshot_steps", "longest_statement_steps"),
}


def test_a_refresh_reports_what_it_did(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """The document has the figures of the pass and the seconds of each stage; stderr stays empty."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"))

    ended = execmetrics("refresh", "--json")

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert set(ended.document) == REFRESHED
    assert ended.document["rows_read"] == 2
    assert ended.document["cells_written"] == len(pipeline.cells())
    assert (ended.document["cells_restated"], ended.document["failed"]) == (0, [])
    assert set(ended.document["seconds"]) == STAGES


def test_steps_are_reported_beside_the_jobs(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """Lines read and cells written; `verify` names a figure that differs, and exits with 1."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for each in (tenant, neighbour):
        plant_lines(
            pipeline.source, each, pipeline.plant_job(each), [{"step_name": "send"}, {"step_name": "open"}]
        )

    refreshed = execmetrics("refresh", "--json").document["steps"]
    shown = execmetrics("refresh").stdout
    right = execmetrics("verify")
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_step_metrics SET warned_executions = 1, completed_executions = 0"
        " WHERE organization_id = %s AND step_name = 'send' AND period = 'month'",
        [tenant.organization],
    )
    wrong = execmetrics("verify")
    document = execmetrics("verify", "--json").document["steps"]

    assert (refreshed["rows_read"], refreshed["cells_written"], refreshed["failed"]) == (4, 32, [])
    assert "steps: cells written" in shown
    assert right.exit_code == 0
    assert "32 cells of steps compared with the logs, 0 differences" in right.stdout
    assert wrong.exit_code == 1
    assert "32 cells of steps compared with the logs, 4 differences" in wrong.stdout
    assert {each["cell"]["step_name"] for each in document["differences"]} == {"send"}
    assert {each["organization_id"] for each in document["differences"]} == {str(tenant.organization)}


def test_a_refresh_can_be_of_one_organization(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """`--organization` may be given several times, and everybody else stays as they were."""
    one, other, neighbour = (pipeline.plant_tenant(name) for name in ("One", "Other", "Neighbour"))
    for tenant in (one, other, neighbour):
        pipeline.plant_job(tenant)

    ended = execmetrics(
        *("refresh", "--organization", str(one.organization), "--organization", str(other.organization))
    )

    assert ended.exit_code == 0
    assert "cells written" in ended.stdout
    assert pipeline.cells(one.organization)
    assert pipeline.cells(other.organization)
    assert not pipeline.cells(neighbour.organization)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2024-01-31", "2024-02-01"),
        ("2024-01-31T14:00:00+02:00", "2024-01-31T07:00:00.000001-05:00"),
        ("2024-01-31t12:00:00z", "2024-01-31 12:01:00Z"),
    ],
)
def test_a_reconciled_range_is_exact(
    execmetrics: Execmetrics, pipeline: Pipeline, since: str, until: str
) -> None:
    """A job that was deleted from the source leaves the cells when its completion is in the range."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    gone, just_before, just_after = pipeline.plant_jobs(
        tenant, [{}, {"completed_at": NOON - DAY}, {"completed_at": NOON + DAY}]
    )
    pipeline.plant_job(neighbour)
    execmetrics("refresh")
    pipeline.delete_jobs(gone, just_before, just_after)

    ended = execmetrics("reconcile", "--since", since, "--until", until, "--json")

    assert ended.exit_code == 0
    assert set(ended.document) == REFRESHED
    assert ended.document["facts_deleted"] == 1
    assert pipeline.cells(neighbour.organization)


def test_a_bare_date_is_each_organizations_own_day(execmetrics: Execmetrics, source: Connection) -> None:
    """What was deleted leaves the cells of the organization where it was that day, and of no other.

    The same dates compare and explain the same days, and a name says which organization is meant.
    """
    zones = {"Kathmandu": "Asia/Kathmandu", "New York": "America/New_York", "Neighbour": "UTC"}
    tenants = {name: plant_tenant(source, name) for name in zones}
    # A quarter past one on the first of February in Kathmandu, and the day before everywhere else.
    evening = datetime(2024, 1, 31, 19, 30, tzinfo=UTC)
    gone, lines = [], []
    for name, tenant in tenants.items():
        live_in(source, tenant, zones[name])
        kept, lost = plant_jobs(source, tenant, [{"completed_at": evening}, {"completed_at": evening}])
        lines += plant_lines(
            source, tenant, kept, [{"step_name": "fetch", "timestamp": evening} for _ in range(2)]
        )[:1]
        gone += [lost] if name != "Neighbour" else []
    execmetrics("refresh")
    source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [gone])
    source.execute("DELETE FROM orchestration.execution_logs WHERE id = any(%s)", [lines])
    last_day = ("--since", "2024-01-31", "--until", "2024-02-01T00:00:00")
    both = ("--organization", "Kathmandu", "--organization", "New York")

    dry = execmetrics("reconcile", *last_day, *both, "--dry-run", "--json")
    done = execmetrics("reconcile", *last_day, *both, "--json")
    that_day = execmetrics("verify", *last_day, *both, "--json")
    next_day = execmetrics("verify", "--since", "2024-02-01", "--until", "2024-02-02", *both, "--json")
    explained = {
        name: execmetrics(
            *("explain", "--organization", name, "--period", "day", "--start", day, "--json")
        ).document
        for name, day in (("Kathmandu", "2024-02-01"), ("New York", "2024-01-31"))
    }

    new_york = str(tenants["New York"].organization)
    assert [each["organization_id"] for each in dry.document["organizations"]] == [new_york]
    assert (done.document["facts_deleted"], done.document["steps"]["facts_deleted"]) == (1, 1)
    assert that_day.exit_code == 0
    assert that_day.document["cells_compared"] > 0
    assert next_day.exit_code == 1
    wrong = [*next_day.document["differences"], *next_day.document["steps"]["differences"]]
    assert {each["organization_id"] for each in wrong} == {str(tenants["Kathmandu"].organization)}
    assert {name: each["figures"]["total_executions"] for name, each in explained.items()} == {
        "Kathmandu": 2,
        "New York": 1,
    }
    assert execmetrics("reconcile", *last_day, "--json").document["facts_deleted"] == 0
    plant_tenant(source, "New York")
    ambiguous = execmetrics("reconcile", *last_day, *both)
    assert (ambiguous.exit_code, ambiguous.stderr.count("\n")) == (2, 1)
    assert "Several organizations have that name" in ambiguous.stderr
    assert new_york in ambiguous.stderr


def test_organizations_that_failed_are_named(
    execmetrics: Execmetrics, source: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the class of the failure, in the document and in the table; the others are published."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    live_in(source, tenant, "Mars/Olympus_Mons")
    refused = execmetrics("refresh")
    monkeypatch.setenv("EXECMETRICS_TOLERATED_FAILURES_PCT", "100")

    document, table = execmetrics("refresh", "--json"), execmetrics("refresh")
    alone = execmetrics("refresh", "--organization", str(tenant.organization), "--json")

    assert refused.exit_code == 1
    assert f"(jobs of 1 of 2: {tenant.organization} UnknownTimeZone)" in refused.stderr
    assert alone.document["failed"] == document.document["failed"]
    assert alone.document["steps"]["organizations"] == 0
    assert (document.exit_code, table.exit_code) == (0, 0)
    assert document.document["failed"] == [
        {"organization_id": str(tenant.organization), "error_class": "UnknownTimeZone"}
    ]
    assert f"{tenant.organization} UnknownTimeZone" in table.stdout
    assert str(neighbour.organization) not in table.stdout


def test_a_dry_run_prints_what_would_change(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """How many cells of which organization, and the largest changes; the tables stay as they were."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    jobs = pipeline.plant_jobs(tenant, [{}, {}, {}])
    pipeline.plant_job(neighbour)
    execmetrics("refresh")
    pipeline.delete_jobs(*jobs[:2])
    before = pipeline.row_versions()
    arguments = ("reconcile", "--since", "2024-01-31", "--until", "2024-02-01", "--dry-run")

    document, table = execmetrics(*arguments, "--json"), execmetrics(*arguments)

    assert (document.exit_code, table.exit_code) == (0, 0)
    assert pipeline.row_versions() == before
    (said,) = document.document["organizations"]
    largest = said["jobs"].pop("largest")
    assert said["organization_id"] == str(tenant.organization)
    assert said["jobs"] == {"rows": 2, "cells": 27, "deletes_guarded": 0, "would_fail": None}
    assert said["steps"]["rows"] == 0
    assert {(cell["old"]["total_executions"], cell["new"]["total_executions"]) for cell in largest} == {
        (3, 1)
    }
    assert len(largest) == 5
    assert f"{tenant.organization}: 2 jobs, 27 cells would change." in table.stdout
    assert table.stdout.count("3 → 1") == 5
    assert "27 cells of 1 organizations would change; nothing was written." in table.stdout
    assert str(neighbour.organization) not in table.stdout


def test_many_deletions_want_to_be_accepted(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """A dry run says so, a reconcile ends with 1 and keeps everything, and the option lets it pass."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_jobs(tenant, [{"completed_at": NOON + second * MINUTE / 60} for second in range(1_001)])
    execmetrics("refresh")
    pipeline.delete_jobs_of(tenant)
    before = pipeline.row_versions()
    arguments = ("reconcile", "--since", "2024-01-31", "--until", "2024-02-01")

    dry, refused = execmetrics(*arguments, "--dry-run"), execmetrics(*arguments)
    kept = pipeline.row_versions()
    accepted = execmetrics(*arguments, "--accept-deletes", "--json")

    assert "1,001 of its jobs are gone from the source." in dry.stdout
    assert "Its jobs would stay as they are, because of DeletesNotAccepted." in dry.stdout
    assert refused.exit_code == 1
    assert f"{tenant.organization} DeletesNotAccepted" in refused.stderr
    assert kept == before
    assert accepted.exit_code == 0
    assert not pipeline.cells(tenant.organization)


def test_a_rebuild_says_what_it_did(
    execmetrics: Execmetrics, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing while the definition is the same; else its cells, with a source that is out of reach."""
    pipeline.plant_pair()
    execmetrics("refresh")
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", "postgresql://127.0.0.1:1/nowhere")
    unneeded = execmetrics("rebuild")
    monkeypatch.setenv("EXECMETRICS_ROLLUP_PLAN", "hour=0 day=3 week=3 month=3")

    document, again = execmetrics("rebuild", "--json"), execmetrics("rebuild", "--json")

    assert "Every cell is of the current definition already." in unneeded.stdout
    assert (unneeded.exit_code, document.exit_code, again.exit_code) == (0, 0, 0)
    assert document.document == {
        "cells_computed": 50,
        "cells_written": 50,
        "cells_deleted": 6,
        "cells_restated": 8,
        "failed": [],
        "waiting": [],
        "steps_waiting": [],
    }
    assert again.document["cells_computed"] == 0
    assert len(pipeline.cells()) == 50


def test_a_rebuild_that_cannot_finish_says_who_waits(
    execmetrics: Execmetrics, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts that no refresh has published yet are not shown, and steps are rebuilt; until then, exit 1."""
    tenant, _ = pipeline.plant_pair()
    execmetrics("refresh")
    pipeline.analytics.execute(
        "UPDATE analytics.watermarks SET definition_version = 0"
        " WHERE subject = 'steps' AND organization_id = %s",
        [tenant.organization],
    )
    steps_alone = execmetrics("rebuild")
    pipeline.plant_job(tenant)
    pipeline.extract_changes(Request())
    monkeypatch.setenv("EXECMETRICS_ROLLUP_PLAN", "hour=1 day=3 week=3 month=3")

    document, table = execmetrics("rebuild", "--json"), execmetrics("rebuild")

    assert (steps_alone.exit_code, document.exit_code, table.exit_code) == (0, 1, 1)
    assert document.document["waiting"] == [str(tenant.organization)]
    assert document.document["steps_waiting"] == []
    assert document.document["cells_written"] > 0
    assert "1 organizations wait for a refresh" in table.stderr
    assert execmetrics("refresh").exit_code == 0
    assert execmetrics("rebuild").exit_code == 0


def test_status_counts_cells_per_job(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """Each organization has its progress and its cost, and so have all; facts set aside are named."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant)
    pipeline.plant_jobs(neighbour, [{}, {}])
    execmetrics("refresh")

    aside = set_aside(pipeline.settings.facts_location)

    ended, table = execmetrics("status", "--json"), execmetrics("status")

    assert ended.exit_code == 0
    assert ended.document.keys() - {"organizations", "jobs", "cells"} == {
        "facts_version",
        "cells_per_job",
        "set_aside",
        "read_whole",
    }
    assert ended.document["read_whole"] == {}
    assert ended.document["set_aside"] == [str(aside)]
    assert f"{aside} was set aside because it could not be used" in table.stdout
    biggest, smallest = ended.document["organizations"]
    assert set(biggest) == {
        "organization_id",
        "name",
        "time_zone",
        "complete_through",
        "verified_at",
        "cursor",
        "jobs",
        "cells",
        "anomalies",
        "failing",
        "steps_failing",
        "cells_per_job",
    }
    assert (biggest["time_zone"], biggest["verified_at"], biggest["failing"]) == ("UTC", None, None)
    assert (biggest["organization_id"], biggest["name"]) == (str(neighbour.organization), "Neighbour")
    assert (biggest["jobs"], biggest["cells"], biggest["cells_per_job"]) == (2, 27, 13.5)
    assert (smallest["organization_id"], smallest["cells_per_job"]) == (str(tenant.organization), 27)
    assert datetime.fromisoformat(biggest["complete_through"]).utcoffset() is not None


def test_a_name_is_shown_as_it_is(execmetrics: Execmetrics, source: Connection) -> None:
    """Markup in a tenant's name is text, and control characters do not reach the terminal."""
    plant_job(source, plant_tenant(source, "[red]Acme[/red] :smile: \x1b[31m"))
    execmetrics("refresh")

    ended = execmetrics("status")

    assert "[red]Acme[/red] :smile: " in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "1 jobs of 1 organizations in 27 cells, 27.00 per job." in ended.stdout


def test_verify_agrees(execmetrics: Execmetrics, source: Connection) -> None:
    """Without differences the exit code is 0, and the cells that wait for a refresh are counted apart."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    changing = plant_job(source, tenant)
    plant_job(source, neighbour)
    execmetrics("refresh")
    change_job(source, changing, status="FAILED")

    ended = execmetrics("verify", "--json")

    assert ended.exit_code == 0
    said = ended.document
    assert datetime.fromisoformat(said.pop("as_of")).utcoffset() is not None
    assert said == {
        "organizations": 2,
        "cells_compared": 27,
        "cells_pending": 27,
        "cells_sealed": 0,
        "waiting": [],
        "differences": [],
        "steps": {"cells_compared": 0, "cells_pending": 0, "cells_sealed": 0, "differences": []},
    }


def test_verify_prints_each_difference(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """A figure that differs makes the exit code 1 and is named with its cell, stored and expected."""
    tenant, _ = pipeline.plant_pair()
    execmetrics("refresh")
    pipeline.analytics.execute(
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
        "cell": {"workflow_id": NIL, "client_id": NIL, "initiator_type": "USER"},
        "column": "total_duration_ms",
        "stored": 5.0,
        "expected": 60_000.0,
    }
    assert "total_duration_ms is 5.000, not 60,000.000" in table.stdout
    assert "54 cells of 2 organizations compared with the source, 1 differences" in table.stdout


def test_verify_prints_a_line_for_a_cell_and_what_mends_it(
    execmetrics: Execmetrics, source: Connection
) -> None:
    """The cells with most jobs too many come first, the longest of them before others; the rest is counted.

    The command that it names makes every figure right again, and touches no neighbour.
    """
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    gone = [plant_job(source, tenant) for _ in range(2)]
    for number in range(20):
        plant_job(source, tenant, completed_at=NOON + number * DAY)
    plant_job(source, neighbour)
    execmetrics("refresh")
    source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [gone])

    wrong = execmetrics("verify")
    _, first, *_ = lines = wrong.stdout.splitlines()
    command = lines[-1].removeprefix("To mend them: execmetrics ")
    mended, right = execmetrics(*command.split(), "--accept-deletes"), execmetrics("verify")

    assert wrong.exit_code == 1
    assert len(lines) == 1 + 20 + 3
    assert first.split()[:2] == [str(tenant.organization), "month"]
    assert "total_executions is 3, not 1, and " in first
    assert "and 7 more cells; --json prints all of them." in lines
    assert command == (
        "reconcile --since 2024-01-01T00:00:00Z --until 2024-02-05T01:00:00Z"
        f" --organization {tenant.organization}"
    )
    assert (mended.exit_code, right.exit_code) == (0, 0)


def test_verify_can_look_at_a_part(execmetrics: Execmetrics, pipeline: Pipeline) -> None:
    """A range and an organization leave other cells out, wrong ones included."""
    tenant, neighbour = pipeline.plant_pair()
    execmetrics("refresh")
    pipeline.analytics.execute(
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


def test_a_log_has_its_months_as_soon_as_it_is_migrated(execmetrics: Execmetrics, source: Connection) -> None:
    """`migrate` makes the partitions of this month and the next three, and finds them the next time."""
    first, again = execmetrics("migrate", "--json"), execmetrics("migrate", "--json")

    (made,) = source.execute(
        "SELECT array_agg(inhrelid::regclass::text ORDER BY 1) FROM pg_inherits"
        " WHERE inhparent = 'orchestration.execution_logs'::regclass"
        " AND inhrelid <> 'orchestration.execution_logs_default'::regclass"
    ).fetchall()[0]
    assert f"{datetime.now(UTC):%Y-%m}" in first.document["log_months_made"]
    assert (len(made), len(first.document["log_months_made"])) == (4, 4)
    assert again.document["log_months_made"] == []
