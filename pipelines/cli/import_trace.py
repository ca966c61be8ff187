"""`execmetrics import`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line, print_table
from pipelines.cli.progress import watched
from pipelines.cli.session import opened


def import_trace(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with jobs.csv.gz and the tables it refers to.")
    ],
    as_json: AsJson = False,
) -> None:
    """Load a trace into the source, all of it or nothing; for development and tests."""
    from pipelines.devtools import trace_import as trace

    with opened() as (databases, settings), watched() as progress:
        report = trace.import_trace(directory, databases, settings, on_progress=progress)
    if as_json:
        print_json(report)
        return
    rows = [(table.name, table.rows, table.rows_written) for table in report.tables]
    print_table(["table", "rows", "written"], rows)
    if report.ignored:
        print_line(f"Ignored, because the source has no table for them: {', '.join(report.ignored)}")
