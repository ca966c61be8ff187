"""`execmetrics refresh`, `reconcile` and `rebuild`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.calendars.moments import require_order
from pipelines.cli.arguments import AsJson, Organizations, Since, Until, opened
from pipelines.cli.output import (
    change_shown,
    print_json,
    print_line,
    print_record,
    print_table,
    shown_client,
    shown_workflow,
    tell,
    watched,
)

if TYPE_CHECKING:
    from pipelines.publish.proposals import CellChange
    from pipelines.runs.dry_run import OrganizationPreview
    from pipelines.runs.refresh import RefreshReport

_COLUMNS: Final = (
    *("period", "period start", "workflow", "client", "initiator"),
    *("total executions", "success rate pct", "median duration ms"),
)


def refresh(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Bring facts and aggregates up to date with what changed in the source: what every hour runs."""
    from pipelines.runs import refresh as passes
    from pipelines.runs.organizations import in_either, organizations_called

    with opened() as (databases, settings), watched() as progress:
        asked = organizations_called(organizations or (), databases, settings, in_either)
        report = passes.refresh(databases, settings, organization_ids=asked, on_progress=progress)
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
    from pipelines.runs import dry_run as preview
    from pipelines.runs import refresh as passes
    from pipelines.runs.organizations import in_either, organizations_called

    require_order(since, until)
    with opened() as (databases, settings), watched() as progress:
        asked: dict[str, Any] = {
            "since": since,
            "until": until,
            "organization_ids": organizations_called(organizations or (), databases, settings, in_either),
            "accept_deletes": accept_deletes,
            "on_progress": progress,
        }
        report = None if dry_run else passes.reconcile(databases, settings, **asked)
        proposed = preview.preview(databases, settings, **asked) if dry_run else ()
    if report is None:
        _propose(proposed, as_json)
        return
    _show(report, as_json)


def _propose(proposed: Sequence[OrganizationPreview], as_json: bool) -> None:
    if as_json:
        print_json({"organizations": proposed})
        return
    for each in proposed:
        print_line(f"{each.organization_id}: {each.jobs:,} jobs, {each.cells:,} cells would change.")
        if each.deletes_withheld:
            print_line(f"{each.deletes_withheld:,} of its jobs are gone from the source.")
        if each.would_fail:
            print_line(f"It would stay as it is, because of {each.would_fail}.")
        if each.steps:
            print_line(f"{each.steps:,} steps would change, and the cells that count them.")
        if each.step_deletes_withheld:
            print_line(
                f"{each.step_deletes_withheld:,} of its steps are gone from the source, too many to believe:"
                " its steps would stay as they are."
            )
        if each.largest:
            print_table(_COLUMNS, (_row(change) for change in each.largest))
        print_line()
    in_all = sum(each.cells for each in proposed)
    concerned = sum(each.cells > 0 for each in proposed)
    steps = sum(each.steps for each in proposed)
    print_line(
        f"{in_all:,} cells of {concerned:,} organizations would change; nothing was written."
        f" {steps:,} steps would change too, and their cells are not listed."
    )


def _row(change: CellChange) -> Sequence[Any]:
    return (
        change.period,
        change.period_start,
        shown_workflow(change.workflow_id),
        shown_client(change.client_id),
        change.initiator_type,
        change_shown(change.old_total_executions, change.new_total_executions),
        change_shown(change.old_success_rate_pct, change.new_success_rate_pct),
        change_shown(change.old_median_duration_ms, change.new_median_duration_ms),
    )


def _show(report: RefreshReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    record = asdict(report)
    stages = record.pop("seconds")
    steps = record.pop("steps")
    record["failed"] = ", ".join(f"{each.organization_id} {each.error_class}" for each in report.failed) or 0
    print_record(record)
    print_line()
    if steps:
        steps["failed"] = ", ".join(f"{key} {why}" for key, why in steps["failed"].items()) or 0
        print_record({f"steps: {name}": value for name, value in steps.items()})
        print_line()
    print_line(", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in stages.items()))


def rebuild(as_json: AsJson = False) -> None:
    """Compute figures of jobs that are of an older definition anew, from the facts alone; cut off, it goes on
    where it was. Those of steps wait for a refresh."""
    from pipelines.publish import rebuild as rebuilding
    from pipelines.runs.step_refresh import find_stale_steps

    with opened() as (databases, settings), watched() as progress:
        report = rebuilding.rebuild(databases, settings, on_progress=progress)
        waiting = [key for key in rebuilding.find_waiting(databases, settings) if key not in report.failed]
        steps_waiting = find_stale_steps(databases, settings)
    failed = [{"organization_id": key, "error_class": why} for key, why in sorted(report.failed.items())]
    record = {
        "cells_computed": report.computed,
        "cells_written": report.written,
        "cells_deleted": report.deleted,
        "cells_restated": report.restated,
    }
    if as_json:
        print_json(record, failed=failed, waiting=waiting, steps_waiting=steps_waiting)
    else:
        print_record(record)
        if not any(record.values()) and not failed and not waiting and not steps_waiting:
            print_line("Every cell is of the current definition already.")
        for each in failed:
            print_line(f"{each['organization_id']} failed: {each['error_class']}")
        if waiting:
            tell(f"{len(waiting):,} organizations wait for a refresh: their facts are not published yet.")
        if steps_waiting:
            tell(f"Steps of {len(steps_waiting):,} organizations are of an older definition: run a refresh.")
    if failed or waiting or steps_waiting:
        raise typer.Exit(1)
