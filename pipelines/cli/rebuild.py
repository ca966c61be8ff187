"""`execmetrics rebuild`."""

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line, print_record, tell
from pipelines.cli.progress import watched
from pipelines.cli.session import opened


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
