"""`execmetrics verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import typer

from pipelines.calendars.moments import require_order
from pipelines.cli.arguments import AnySince, AnyUntil, AsJson, Organizations, opened
from pipelines.cli.output import print_json, print_line, print_table, shown, watched

if TYPE_CHECKING:
    from pipelines.runs.verify import Difference, Verified, VerifyReport

# How many cells are printed, and how many organizations a command is told.
_CELLS_SHOWN: Final = 20
_ORGANIZATIONS_SAID: Final = 3

# Buckets begin and end at whole seconds.
_INSTANT: Final = "%Y-%m-%dT%H:%M:%SZ"

# How long a bucket may be by clocks that change, the shortest first.
_LONGEST: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(hours=25),
    "week": timedelta(days=7, hours=1),
    "month": timedelta(days=31, hours=1),
}


def verify(
    since: AnySince = None,
    until: AnyUntil = None,
    organizations: Organizations = None,
    as_json: AsJson = False,
) -> None:
    """Compare every stored cell with plain SQL on the source; exit 1 if any differs."""
    from pipelines.runs import verify as comparison
    from pipelines.runs.organizations import organizations_called, published

    require_order(since, until)
    with opened() as (databases, settings), watched() as progress:
        report = comparison.verify(
            databases,
            settings,
            since=since,
            until=until,
            organization_ids=organizations_called(organizations or (), databases, settings, published),
            on_progress=progress,
        )
    if as_json:
        print_json(report)
    else:
        print_comparison(report)
    if report.differences or report.steps.differences:
        raise typer.Exit(1)


def print_steps(steps: Verified) -> None:
    """The same of the cells of steps, where there are any."""
    from pipelines.runs.verify import Verified

    if steps == Verified():
        return
    _print_differences(steps.differences)
    compared = f"{steps.cells_compared:,} cells of steps compared with the logs"
    waiting = f"{steps.cells_pending:,} wait for the next refresh, {steps.cells_sealed:,} are sealed"
    print_line(f"{compared}, {len(steps.differences):,} differences; {waiting}.")


def print_comparison(report: VerifyReport) -> None:
    """Print the cells that differ, how many were compared, and the command that mends them."""
    _print_differences(report.differences)
    print_line(
        f"{report.cells_compared:,} cells of {report.organizations:,} organizations compared with the source,"
        f" {len(report.differences):,} differences; {report.cells_pending:,} cells wait for the next refresh."
    )
    print_steps(report.steps)
    if report.cells_sealed:
        print_line(
            f"{report.cells_sealed:,} cells are sealed: they count jobs that the source no longer has."
        )
    differences: list[Difference] = [*report.differences, *report.steps.differences]
    if differences:
        print_line(f"To mend them: {_remedy(differences)}")


def _print_differences(differences: Sequence[Difference]) -> None:
    """Print a line for each cell, those with the most jobs too many or too few first."""
    if not differences:
        return
    cells: dict[tuple[Any, ...], dict[str, tuple[Any, Any]]] = {}
    for each in differences:
        key = (each.organization_id, each.period, each.period_start, *each.cell.values())
        cells.setdefault(key, {})[each.column] = each.stored, each.expected
    ranks = list(_LONGEST)
    columns = ["organization_id", "period", "period_start", *differences[0].cell]
    ordered = sorted(cells.items(), key=lambda cell: (-_jobs_apart(cell[1]), -ranks.index(cell[0][1])))
    print_table([*columns, "differs"], ((*key, _said(figures)) for key, figures in ordered[:_CELLS_SHOWN]))
    if len(ordered) > _CELLS_SHOWN:
        print_line(f"and {len(ordered) - _CELLS_SHOWN:,} more cells; --json prints all of them.")


def _jobs_apart(figures: Mapping[str, tuple[Any, Any]]) -> float:
    """How many jobs a cell has too many or too few, as the count says that differs most."""
    from pipelines.compute.comparison import ROW

    return max(
        (
            abs((stored or 0) - (expected or 0))
            for column, (stored, expected) in figures.items()
            if column == ROW or column.endswith("_executions")
        ),
        default=0,
    )


def _said(figures: Mapping[str, tuple[Any, Any]]) -> str:
    """The first figure of a cell that differs, and how many others do."""
    from pipelines.compute.comparison import ROW

    column, (stored, expected) = next(iter(figures.items()))
    if column == ROW:
        return f"is missing, of {expected:,.0f}" if stored is None else f"is left over, of {stored:,.0f}"
    others = f", and {len(figures) - 1} more" if len(figures) > 1 else ""
    return f"{column} is {shown(stored)}, not {shown(expected)}{others}"


def _remedy(differences: Sequence[Difference]) -> str:
    """The command that makes these cells equal the source; a date would be another day in each zone."""
    since = min(each.period_start for each in differences)
    until = max(each.period_start + _LONGEST[each.period] for each in differences)
    keys = sorted({each.organization_id for each in differences})
    of = "".join(f" --organization {key}" for key in keys) if len(keys) <= _ORGANIZATIONS_SAID else ""
    return f"execmetrics reconcile --since {since:{_INSTANT}} --until {until:{_INSTANT}}{of}"
