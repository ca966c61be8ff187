"""`execmetrics rebuild`."""

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line, print_record, tell
from pipelines.cli.progress import watched
from pipelines.cli.session import opened


def rebuild(as_json: AsJson = False) -> None:
    """Compute figures of an older definition anew, from the facts alone; cut off, it goes on where it was."""
    from pipelines.postgres.connections import Run
    from pipelines.publish.recompute import find_stale
    from pipelines.runs import refresh
    from pipelines.subjects.jobs import JOBS
    from pipelines.subjects.steps import STEPS

    with opened() as (databases, settings), watched() as progress:
        published = refresh.rebuild(databases, settings, on_progress=progress)
        stale = {each.name: find_stale(Run(databases, settings), each) for each in (JOBS, STEPS)}
    jobs, steps = published[JOBS.name], published[STEPS.name]
    report = jobs + steps
    failed = [
        {"organization_id": key, "subject": name, "error_class": why}
        for name, each in published.items()
        for key, why in sorted(each.failed.items())
    ]
    waiting = {
        name: [key for key in keys if key not in published[name].failed] for name, keys in stale.items()
    }
    record = {
        "cells_computed": report.computed,
        "cells_written": report.written,
        "cells_deleted": report.deleted,
        "cells_restated": report.restated,
    }
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
                tell(
                    f"The {name} of {len(keys):,} organizations wait for a refresh:"
                    " their facts are not published yet."
                )
    if failed or waits:
        raise typer.Exit(1)
