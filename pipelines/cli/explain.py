"""`execmetrics explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from pipelines.calendars.moments import MOMENT, DayOrTime
from pipelines.cli.arguments import ORGANIZATION, AsJson, moment, opened
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

    with opened() as (databases, settings):
        (organization_id,) = organizations_called([organization], databases, settings, published)
        cell: dict[str, UUID | str] = {"workflow_id": workflow or ALL_WORKFLOWS}
        if step is None:
            cell |= {"client_id": client or ALL_CLIENTS, "initiator_type": initiator}
        else:
            cell |= {"step_name": step}
        subject = JOBS if step is None else STEPS
        name = explanations.CellName(organization_id, period, start, cell, subject)
        found = explanations.explain(databases, settings, name, as_of=as_of)
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
