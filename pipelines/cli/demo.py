"""`execmetrics demo`: all of it on a generated month."""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.arguments import AsJson, opened
from pipelines.cli.dev import (
    CHECKOUT,
    DAGSTER_PORT,
    DASHBOARD_PORT,
    address_of,
    dagster,
    dagster_home,
    environment,
)
from pipelines.cli.output import print_json, print_line, print_table, spinning, watched
from pipelines.cli.verify import print_comparison
from pipelines.errors import DagsterFailed, UsageError

if TYPE_CHECKING:
    from pipelines.devtools.generated_month import FailingWorkflow, GeneratedMonth, OrganizationMonth, Written
    from pipelines.postgres.connections import Databases
    from pipelines.runs.verify import VerifyReport
    from pipelines.settings import Settings


@dataclass(frozen=True)
class _Shown:
    """What the demo found out, and how long each part of it took."""

    month: GeneratedMonth
    written: Written
    biggest_organizations: list[OrganizationMonth]
    failing_workflow: FailingWorkflow | None
    verification: VerifyReport
    seconds: dict[str, float]


def demo(
    jobs: Annotated[
        int, typer.Option(min=10_000, max=50_000_000, help="About how many jobs, unless the month is there.")
    ] = 240_000,
    as_json: AsJson = False,
) -> None:
    """Generate a month of work, aggregate it through Dagster, show what it tells, verify every figure."""
    with opened() as (databases, settings):
        shown = _shown(databases, settings, jobs)
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    if shown.verification.differences:
        raise typer.Exit(1)


def _shown(databases: Databases, settings: Settings, jobs: int) -> _Shown:
    from pipelines.devtools import generated_month as months
    from pipelines.postgres.connections import connect
    from pipelines.postgres.migrations import migrate
    from pipelines.runs.verify import verify

    if months.serves_others(databases, settings, jobs=jobs):
        raise UsageError(
            "These databases serve organizations that the demo did not make, so it writes nothing; unset"
            " EXECMETRICS_DATABASE_URL and EXECMETRICS_SOURCE_URL, or choose another EXECMETRICS_HOME."
        )
    begun = time.perf_counter()
    seconds: dict[str, float] = {}

    def lap(part: str) -> None:
        seconds[part] = round(time.perf_counter() - begun - sum(seconds.values()), 1)

    migrate(databases, settings)
    with watched() as progress:
        month = months.generate_month(databases, settings, jobs=jobs, on_progress=progress)
    lap("generate")
    with connect(databases.analytics_url, settings) as connection:
        before = months.get_written(connection)
    with spinning("Dagster materializes job_facts and aggregate_metrics."):
        _materialize(databases, settings, month)
    lap("materialize")
    with connect(databases.analytics_url, settings) as connection:
        written = months.get_written(connection, after=before.newest)
        biggest = months.find_biggest_organizations(connection, month.since)
        failing = months.find_failing_workflow(connection, month.since)
    with watched() as progress:
        verification = verify(databases, settings, on_progress=progress)
    lap("verify")
    return _Shown(month, written, biggest, failing, verification, seconds)


def _materialize(databases: Databases, settings: Settings, month: GeneratedMonth) -> None:
    """Run the Dagster job of the hourly schedule, today: it covers every day from the month's first on."""
    tables = ("job_facts", "aggregate_metrics", "aggregate_step_metrics")
    # The command leaves out the job's own configuration, and takes one from a file only. JSON is YAML.
    config = dagster_home(settings) / "demo.yaml"
    config.write_text(json.dumps({"ops": {table: {"config": {"mode": "refresh"}} for table in tables}}))
    tags = dict.fromkeys(
        ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
        f"{datetime.now(UTC):%Y-%m-%d}",
    )
    arguments = ["job", "execute", "-m", "assets.definitions", "-d", str(CHECKOUT), "-j", "refresh"]
    arguments += ["--tags", json.dumps(tags), "-c", str(config)]
    log = dagster_home(settings) / "demo.log"
    variables = environment(databases, settings, first_day=month.since.date())
    with log.open("wb") as output, dagster(arguments, variables, output) as process:
        if process.wait() != 0:
            raise DagsterFailed(f"({log})")


def _print(shown: _Shown) -> None:
    month, seconds = shown.month, shown.seconds
    state = "Generated" if month.created else "Found"
    made = f"{month.jobs:,} jobs of {len(month.organization_ids)} organizations, {month.workflows} workflows"
    print_line(
        f"{state} {made} and {month.clients} clients in {month.since:%B %Y} ({seconds['generate']} s)."
    )
    written = f"{shown.written.cells:,} of {shown.written.all_cells:,} cells of aggregate_metrics"
    print_line(f"Dagster wrote {written} ({seconds['materialize']} s).")
    print_line()
    columns = ["organization", "jobs", "success rate %", "median ms", "p95 ms"]
    rows = (astuple(each)[1:] for each in shown.biggest_organizations)
    print_table(columns, rows, title="The biggest organizations", decimals=1)
    print_line()
    if failing := shown.failing_workflow:
        print_line(
            f"The workflow whose failures stand out: {failing.workflow} of {failing.organization}."
            f" From {failing.since:%Y-%m-%d %H:%M} to {failing.until:%H:%M} UTC {failing.failed_pct:.1f} % of"
            f" its {failing.total_executions:,} jobs failed; in the rest of the month"
            f" {failing.usual_failed_pct:.1f} % did."
        )
        print_line()
    print_comparison(shown.verification)
    print_line(f"(verified in {seconds['verify']} s)")
    print_line()
    pages = f"the dashboard at {address_of(DASHBOARD_PORT)} and the Dagster UI at {address_of(DAGSTER_PORT)}"
    print_line(f"make dev serves {pages}, and prints a link for each organization.")
