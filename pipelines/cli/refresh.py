"""`execmetrics refresh` and `execmetrics reconcile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.cli.arguments import AsJson, Organizations, Since, Until, require_order
from pipelines.cli.output import print_json, print_line, print_record, print_table
from pipelines.cli.progress import watched
from pipelines.cli.session import opened

if TYPE_CHECKING:
    from pipelines.preview import OrganizationPreview
    from pipelines.refresh import RefreshReport

_SAID_ALREADY: Final = ("organization_id", "cells")


def refresh(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Bring facts and aggregates up to date with what changed in the source: what every hour runs."""
    from pipelines import refresh as passes

    with opened() as (databases, settings), watched() as progress:
        report = passes.refresh(
            databases, settings, organization_ids=organizations or (), on_progress=progress
        )
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
    from pipelines import preview
    from pipelines import refresh as passes

    require_order(since, until)
    with opened() as (databases, settings), watched() as progress:
        asked: dict[str, Any] = {
            "since": since,
            "until": until,
            "organization_ids": organizations or (),
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
        if each.largest:
            columns = [field.name for field in fields(each.largest[0]) if field.name not in _SAID_ALREADY]
            rows = ([getattr(change, column) for column in columns] for change in each.largest)
            print_table([column.replace("_", " ") for column in columns], rows)
        print_line()
    cells = sum(each.cells for each in proposed)
    concerned = sum(each.cells > 0 for each in proposed)
    print_line(f"{cells:,} cells of {concerned:,} organizations would change; nothing was written.")


def _show(report: RefreshReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    record = asdict(report)
    stages = record.pop("seconds")
    record["failed"] = ", ".join(f"{each.organization_id} {each.error_class}" for each in report.failed) or 0
    print_record(record)
    print_line()
    print_line(", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in stages.items()))
