"""`execmetrics verify`."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING

import typer

from pipelines.cli.arguments import AnySince, AnyUntil, AsJson, Organizations, require_order
from pipelines.cli.output import print_json, print_line, print_table
from pipelines.cli.progress import watched
from pipelines.cli.session import opened

if TYPE_CHECKING:
    from pipelines.steps.verify import StepsVerified
    from pipelines.verify import VerifyReport


def verify(
    since: AnySince = None,
    until: AnyUntil = None,
    organizations: Organizations = None,
    as_json: AsJson = False,
) -> None:
    """Compare every stored cell with plain SQL on the source; exit 1 if any differs."""
    from pipelines import verify as comparison

    require_order(since, until)
    with opened() as (databases, settings), watched() as progress:
        report = comparison.verify(
            databases,
            settings,
            since=since,
            until=until,
            organization_ids=organizations or (),
            on_progress=progress,
        )
    if as_json:
        print_json(report)
    else:
        print_comparison(report)
    if report.differences or report.steps.differences:
        raise typer.Exit(1)


def print_steps(steps: StepsVerified) -> None:
    """The same of the cells of steps, where there are any."""
    from pipelines.steps.verify import NO_STEPS, StepDifference

    if steps == NO_STEPS:
        return
    if steps.differences:
        columns = [field.name for field in fields(StepDifference)]
        print_table(columns, (astuple(difference) for difference in steps.differences))
    compared = f"{steps.cells_compared:,} cells of steps compared with the logs"
    waiting = f"{steps.cells_pending:,} wait for the next refresh, {steps.cells_sealed:,} are sealed"
    print_line(f"{compared}, {len(steps.differences):,} differences; {waiting}.")


def print_comparison(report: VerifyReport) -> None:
    """Print each difference, then how many cells were compared."""
    from pipelines.verify import Difference

    if report.differences:
        columns = [field.name for field in fields(Difference)]
        print_table(columns, (astuple(difference) for difference in report.differences))
    print_line(
        f"{report.cells_compared:,} cells of {report.organizations:,} organizations compared with the source,"
        f" {len(report.differences):,} differences; {report.cells_pending:,} cells wait for the next refresh."
    )
    print_steps(report.steps)
    if report.cells_sealed:
        print_line(
            f"{report.cells_sealed:,} cells are sealed: they count jobs that the source no longer has."
        )
