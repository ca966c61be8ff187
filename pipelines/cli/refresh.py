"""`execmetrics refresh` and `execmetrics reconcile`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.cli.arguments import AsJson, Organizations, Since, Until, require_order
from pipelines.cli.output import print_json, print_line, print_record
from pipelines.cli.progress import watched
from pipelines.cli.session import opened

if TYPE_CHECKING:
    from pipelines.refresh import RefreshReport


def refresh(organizations: Organizations = None, as_json: AsJson = False) -> None:
    """Bring facts and aggregates up to date with what changed in the source: what every hour runs."""
    from pipelines import refresh as passes

    with opened() as (databases, settings), watched() as progress:
        report = passes.refresh(
            databases, settings, organization_ids=organizations or (), on_progress=progress
        )
    _show(report, as_json)


def reconcile(
    since: Since, until: Until, organizations: Organizations = None, as_json: AsJson = False
) -> None:
    """Make whatever completed in a range equal the source again, jobs deleted from it included."""
    from pipelines import refresh as passes

    require_order(since, until)
    with opened() as (databases, settings), watched() as progress:
        report = passes.reconcile(
            databases,
            settings,
            since=since,
            until=until,
            organization_ids=organizations or (),
            on_progress=progress,
        )
    _show(report, as_json)


def _show(report: RefreshReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    record = asdict(report)
    stages = record.pop("seconds")
    print_record(record)
    print_line()
    print_line(", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in stages.items()))
