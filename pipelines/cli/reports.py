"""`execmetrics verify`, `explain` and `status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from pipelines.calendars.moments import MOMENT, DayOrTime, require_order
from pipelines.cli.arguments import ORGANIZATION, AnySince, AnyUntil, AsJson, Organizations, moment, opened
from pipelines.cli.output import (
    CLIENTS,
    WORKFLOWS,
    cell_shown,
    changes_shown,
    print_json,
    print_line,
    print_table,
    shown,
)
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, UNKNOWN_INITIATOR
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period
from pipelines.subjects.steps import STEPS

if TYPE_CHECKING:
    from pipelines.runs.explain import AsOf, Explanation
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
    with opened(watched=True) as run:
        report = comparison.verify(
            run,
            since=since,
            until=until,
            organization_ids=organizations_called(organizations or (), run, published),
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
        what = "they count jobs that the source no longer has"
        print_line(f"{report.cells_sealed:,} cells are sealed: {what}.")
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


_BECAUSE: Final = {
    "late": "a job came late",
    "edited": "a job was edited",
    "retried": "a job was retried",
    "deleted": "a job was deleted",
    "time_zone": "the organization's time zone or its rules changed",
    "definition": "the definition of the metrics changed",
    "backfill": "a range was read again, and the source said something else",
    "drift": "what was stored was not what the jobs say",
    "open": "its period was still open",
    "published": "it was first published after its period was over",
    "not_on_record": "why is not on record, for restatements of then were removed",
}
_NOT_ON_RECORD: Final = {
    "open": "its period was not over yet, and how a cell grows is not kept",
    "not_published": "it was first published, or last grew, after that",
    "removed": "restatements of then were removed, as EXECMETRICS_KEEP_RESTATEMENTS says",
    "drifted": "somebody else had changed it, and nobody knows since when",
}
_RESTATED: Final = ("total_executions", "success_rate_pct", "median_duration_ms", "p95_duration_ms")


def _id_or(words: dict[str, UUID]) -> Callable[[str], UUID]:
    def read(text: str) -> UUID:
        try:
            return words.get(text) or UUID(text)
        except ValueError:
            named = f"{', '.join(words)} or a UUID"
            raise typer.BadParameter(f"{text!r} is not {named}.") from None

    return read


def _option(metavar: str, help: str, parser: Callable[[str], Any] | None = None) -> Any:
    return typer.Option(metavar=metavar, help=help, parser=parser)


_WORKFLOW = _option("ID|all", "Only this workflow.", _id_or(WORKFLOWS))
_CLIENT = _option("ID|all|none", "Only this client, or jobs without one.", _id_or(CLIENTS))
_INITIATOR = _option(f"X|all|{UNKNOWN_INITIATOR}", "Only this initiator type.")
_STEP = _option("NAME", "The cell of this step, for a workflow or all, instead of jobs.")


def explain(
    organization: Annotated[str, _option("ORG", f"Whose cell: {ORGANIZATION}.")],
    period: Annotated[Period, typer.Option(help="How long its bucket is.")],
    start: Annotated[DayOrTime, _option("T", f"Its bucket is the one that this is in: {MOMENT}.", moment)],
    workflow: Annotated[UUID | None, _WORKFLOW] = None,
    client: Annotated[UUID | None, _CLIENT] = None,
    initiator: Annotated[str, _INITIATOR] = ALL_INITIATORS,
    step: Annotated[str | None, _STEP] = None,
    as_of: Annotated[DayOrTime | None, _option("T", f"Also what it showed then: {MOMENT}.", moment)] = None,
    as_json: AsJson = False,
) -> None:
    """Show one cell: its figures, how many jobs it counts, when they changed and why, and what they were."""
    from pipelines.runs import explain as explanations
    from pipelines.runs.organizations import organizations_called, published

    with opened() as run:
        (organization_id,) = organizations_called([organization], run, published)
        cell: dict[str, UUID | str] = {"workflow_id": workflow or ALL_WORKFLOWS}
        if step is None:
            cell |= {"client_id": client or ALL_CLIENTS, "initiator_type": initiator}
        else:
            cell |= {"step_name": step}
        subject = JOBS if step is None else STEPS
        name = explanations.CellName(organization_id, period, start, cell, subject)
        found = explanations.explain(run, name, as_of=as_of)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: Explanation) -> None:
    bucket = f"The {found.period} from {shown(found.period_start)} to {shown(found.period_end)}"
    print_line(f"{bucket} ({found.time_zone}) of {found.organization_id}: {cell_shown(found.cell)}.")
    print_line()
    _show_figures(found)
    print_line()
    print_line(_rows(found))
    verb = "last changed" if found.figures else "was removed"
    print_line(f"It {verb} at {shown(found.changed_at)}: {_BECAUSE[found.because]}.")
    if found.as_of:
        print_line(_as_of(found.as_of))
    if not found.is_over:
        print_line("Its period is still open, so it grows without being restated.")
    _show_restatements(found)


def _show_figures(found: Explanation) -> None:
    then = found.as_of.figures if found.as_of else None
    columns = ["", "now"]
    if found.as_of and found.as_of.on_record:
        columns.append(f"at {shown(found.as_of.moment)}")
    names = found.figures or then or {}
    held = [found.figures or {}, then or {}][: len(columns) - 1]
    print_table(columns, ([name.replace("_", " "), *(each.get(name) for each in held)] for name in names))


def _rows(found: Explanation) -> str:
    total = int((found.figures or {}).get("total_executions") or 0)
    rows = "steps" if "step_name" in found.cell else "jobs"
    if found.rows == total:
        return f"It counts {total:,} {rows}, as many as there are in the facts."
    return (
        f"It counts {total:,} {rows}, and the facts hold {found.rows:,}: they wait to be published, or"
        " somebody else wrote to either; execmetrics refresh and then verify will tell."
    )


def _as_of(then: AsOf) -> str:
    at = shown(then.moment)
    if not then.on_record:
        return f"What it showed at {at} is not on record: {_NOT_ON_RECORD[then.evidence]}."
    what = "It showed these figures" if then.figures else "There was no such cell"
    since = f"since {shown(then.since)}" if then.since else "since it was published after its period was over"
    until = f", until {shown(then.until)}" if then.until else ", and nothing changed afterwards"
    return f"{what} at {at}: {since}{until}."


def _show_restatements(found: Explanation) -> None:
    if not found.restatements:
        print_line("No restatement of it is on record.")
        return
    print_line()
    columns = ["restated at", "reason", "run id", *(name.replace("_", " ") for name in _RESTATED)]
    rows = (
        [each.restated_at, each.reason.value, each.run_id, *changes_shown(each.old, each.new, _RESTATED)]
        for each in found.restatements
    )
    print_table(columns, rows)


_COLUMNS: Final = (
    *("name", "organization_id", "time_zone", "complete_through", "verified_at", "cursor"),
    *("jobs", "cells", "cells_per_job", "anomalies", "failing", "steps_failing"),
)


def status(as_json: AsJson = False) -> None:
    """Show how far each organization is, and how many cells its jobs cost."""
    from pipelines.runs import status as standing

    with opened() as run:
        report = standing.status(run)
    organizations = [
        asdict(each) | {"cells_per_job": each.cells / each.jobs if each.jobs else None}
        for each in report.organizations
    ]
    sums = {"jobs": report.jobs, "cells": report.cells, "cells_per_job": report.cells_per_job}
    if as_json:
        print_json(asdict(report) | {"organizations": organizations} | sums)
        return
    headings = [column.replace("_", " ") for column in _COLUMNS]
    print_table(headings, ([row[column] for column in _COLUMNS] for row in organizations))
    print_line()
    per_job = f", {report.cells_per_job:.2f} per job" if report.cells_per_job is not None else ""
    in_cells = f"in {report.cells:,} cells{per_job}"
    print_line(f"{report.jobs:,} jobs of {len(organizations):,} organizations {in_cells}.")
    for relation, why in (report.read_whole or {}).items():
        print_line(f"Every refresh reads all of orchestration.{relation}: {why}.")
    for folder in report.set_aside:
        print_line(
            f"{folder} was set aside because it could not be used, and may be the only copy of what the"
            " source no longer has: put a backup of these facts in their place, or delete it when nothing is"
            " missed."
        )
