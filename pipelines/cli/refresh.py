"""`execmetrics refresh`, `reconcile` and `rebuild`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from pipelines.calendars.moments import require_order
from pipelines.cli.arguments import AsJson, Organizations, Since, Until, opened
from pipelines.cli.output import (
    cell_shown,
    changes_shown,
    print_json,
    print_line,
    print_record,
    print_table,
    tell,
)

if TYPE_CHECKING:
    from pipelines.publish.writer import CellChange
    from pipelines.runs.dry_run import OrganizationDryRun
    from pipelines.runs.refresh import RefreshReport, SubjectReport

_FIGURES: Final = ("total_executions", "success_rate_pct", "median_duration_ms")
_COLUMNS: Final = ("period", "period start", "cell", *(name.replace("_", " ") for name in _FIGURES))


def refresh(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Bring facts and aggregates up to date with what changed in the source: what every hour runs."""
    from pipelines.runs import refresh as passes
    from pipelines.runs.organizations import in_either, organizations_called

    with opened(watched=True) as run:
        asked = organizations_called(organizations or (), run, in_either)
        report = passes.refresh(run, organization_ids=asked)
    _show(report, as_json)


def reconcile(
    since: Since,
    until: Until,
    organizations: Organizations = None,
    accept_deletes: Annotated[
        bool,
        typer.Option("--accept-deletes", help="Believe the source, however many jobs are gone from it."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; print which cells would change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make whatever completed in a range equal the source again, jobs deleted from it included."""
    from pipelines.runs import dry_run as dry
    from pipelines.runs import refresh as passes
    from pipelines.runs.organizations import in_either, organizations_called

    require_order(since, until)
    with opened(watched=True) as run:
        asked: dict[str, Any] = {
            "since": since,
            "until": until,
            "organization_ids": organizations_called(organizations or (), run, in_either),
            "accept_deletes": accept_deletes,
        }
        if dry_run:
            proposed = dry.dry_run(run, **asked)
        else:
            report = passes.reconcile(run, **asked)
    if dry_run:
        _propose(proposed, as_json)
    else:
        _show(report, as_json)


def _propose(proposed: Sequence[OrganizationDryRun], as_json: bool) -> None:
    if as_json:
        print_json({"organizations": proposed})
        return
    from pipelines.runs.dry_run import SubjectDryRun

    nothing = SubjectDryRun()
    for each in proposed:
        for rows, found in (("jobs", each.jobs), ("steps", each.steps)):
            if found == nothing:
                continue
            print_line(f"{each.organization_id}: {found.rows:,} {rows}, {found.cells:,} cells would change.")
            if found.deletes_guarded:
                print_line(f"{found.deletes_guarded:,} of its {rows} are gone from the source.")
            if found.would_fail:
                print_line(f"Its {rows} would stay as they are, because of {found.would_fail}.")
            if found.largest:
                print_table(_COLUMNS, (_row(change) for change in found.largest))
            print_line()
    in_all = sum(each.jobs.cells + each.steps.cells for each in proposed)
    concerned = sum(each.jobs.cells + each.steps.cells > 0 for each in proposed)
    print_line(f"{in_all:,} cells of {concerned:,} organizations would change; nothing was written.")


def _row(change: CellChange) -> Sequence[Any]:
    cell = {name: UUID(value) if name.endswith("_id") else value for name, value in change.cell.items()}
    figures = changes_shown(change.old, change.new, _FIGURES)
    return (change.period, change.period_start, cell_shown(cell), *figures)


def _show(report: RefreshReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    record = asdict(report)
    stages = record.pop("seconds")
    steps = record.pop("steps")
    record["failed"] = _failed(report)
    print_record(record)
    print_line()
    if steps:
        assert report.steps
        steps["failed"] = _failed(report.steps)
        print_record({f"steps: {name}": value for name, value in steps.items()})
        print_line()
    print_line(", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in stages.items()))


def _failed(report: SubjectReport) -> str | int:
    return ", ".join(f"{each.organization_id} {each.error_class}" for each in report.failed) or 0


def rebuild(as_json: AsJson = False) -> None:
    """Compute figures of an older definition anew, from the facts alone; cut off, it goes on where it was."""
    from pipelines.publish.recompute import find_stale
    from pipelines.runs import refresh
    from pipelines.subjects import SUBJECTS
    from pipelines.subjects.jobs import JOBS
    from pipelines.subjects.steps import STEPS

    with opened(watched=True) as run:
        published = refresh.rebuild(run)
        stale = {each.name: find_stale(run, each) for each in SUBJECTS}
    jobs, steps = published[JOBS.name], published[STEPS.name]
    report = jobs + steps
    failed = [
        {"organization_id": key, "subject": name, "error_class": why}
        for name, each in published.items()
        for key, why in sorted(each.failed.items())
    ]
    waiting = {name: sorted(set(keys) - published[name].failed.keys()) for name, keys in stale.items()}
    counts = ("computed", "written", "deleted", "restated")
    record = {f"cells_{name}": getattr(report, name) for name in counts}
    waits = any(waiting.values())
    if as_json:
        print_json(record, failed=failed, waiting=waiting[JOBS.name], steps_waiting=waiting[STEPS.name])
    else:
        print_record(record)
        if not any(record.values()) and not failed and not waits:
            print_line("Every cell is of the current definition already.")
        for each in failed:
            print_line(f"{each['organization_id']} failed ({each['subject']}): {each['error_class']}")
        for name, keys in waiting.items():
            if keys:
                waits_for = "wait for a refresh: their facts are not published yet"
                tell(f"The {name} of {len(keys):,} organizations {waits_for}.")
    if failed or waits:
        raise typer.Exit(1)
