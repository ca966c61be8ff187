"""`execmetrics rebuild`."""

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line, print_record, tell
from pipelines.cli.progress import watched
from pipelines.cli.session import opened


def rebuild(as_json: AsJson = False) -> None:
    """Compute figures of an older definition anew, from the facts alone; cut off, it goes on where it was."""
    from pipelines import rebuild as rebuilding

    with opened() as (databases, settings), watched() as progress:
        report = rebuilding.rebuild(databases, settings, on_progress=progress)
        waiting = [key for key in rebuilding.find_waiting(databases, settings) if key not in report.failed]
    failed = [{"organization_id": key, "error_class": why} for key, why in sorted(report.failed.items())]
    record = {
        "cells_computed": report.computed,
        "cells_written": report.written,
        "cells_deleted": report.deleted,
        "cells_restated": report.restated,
    }
    if as_json:
        print_json(record, failed=failed, waiting=waiting)
    else:
        print_record(record)
        if not any(record.values()) and not failed and not waiting:
            print_line("Every cell is of the current definition already.")
        for each in failed:
            print_line(f"{each['organization_id']} failed: {each['error_class']}")
        if waiting:
            tell(f"{len(waiting):,} organizations wait for a refresh: their facts are not published yet.")
    if failed or waiting:
        raise typer.Exit(1)
