"""`execmetrics metadata`: sync, check and reconcile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from pipelines.cli.arguments import AsJson, Organizations, opened
from pipelines.cli.output import print_json, print_line, print_record, print_table

if TYPE_CHECKING:
    from pipelines.executions.metadata import OrganizationDrift, SyncReport
    from pipelines.runs.execution_metadata import DriftReport

T = TypeVar("T")

app: Final = typer.Typer(
    name="metadata",
    no_args_is_help=True,
    add_completion=False,
    help="Keep execution_metadata in the source equal to jobs, workflows and clients.",
)

_COLUMNS: Final = ("organization", "missing", "left over", "differing", "columns", "some jobs")


@app.command("sync")
def sync(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Copy what was written since the last sync: jobs, and the jobs of renamed workflows and clients."""
    from pipelines.runs.execution_metadata import sync_metadata

    report = _done(sync_metadata, organizations)
    if as_json:
        print_json(report)
    else:
        _show(report)


@app.command("check")
def check(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Compare every row with its sources; exit 1 if any has drifted."""
    from pipelines.runs.execution_metadata import find_drift

    report = _done(find_drift, organizations)
    if as_json:
        print_json(report)
    else:
        _compare(report)
    if report.drifted:
        raise typer.Exit(1)


@app.command("reconcile")
def reconcile(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Compare every row with its sources, and make those that differ equal again, edits by hand included."""
    from pipelines.runs.execution_metadata import reconcile_metadata

    report = _done(reconcile_metadata, organizations)
    if as_json:
        print_json(report)
        return
    if not report.found.left_alone:
        _compare(report.found)
    _show(report.sync)


def _done(work: Callable[..., T], organizations: Sequence[str] | None) -> T:
    """What a use case reports of the organizations that are asked for."""
    from pipelines.runs.organizations import in_source, organizations_called

    with opened() as run:
        asked = organizations_called(organizations or (), run, in_source)
        return work(run, organization_ids=asked)


def _show(report: SyncReport) -> None:
    if report.left_alone:
        print_line(report.left_alone)
        return
    print_record({name: value for name, value in asdict(report).items() if name != "left_alone"})


def _compare(report: DriftReport) -> None:
    if report.left_alone:
        print_line(report.left_alone)
        return
    if report.drifted:
        print_table(_COLUMNS, map(_row, report.drifted))
    drifted = sum(each.rows_drifted for each in report.drifted)
    print_line(
        f"{report.rows_compared:,} rows of {report.organizations:,} organizations compared with the source,"
        f" {drifted:,} have drifted; {report.rows_pending:,} wait for the next sync."
    )


def _row(each: OrganizationDrift) -> Sequence[object]:
    return (
        each.organization_id,
        each.rows_missing,
        each.rows_left_over,
        each.rows_differing,
        ", ".join(f"{column} {rows:,}" for column, rows in each.columns.items()),
        ", ".join(map(str, each.job_ids)),
    )
