"""`execmetrics migrate`."""

from typing import Annotated

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line
from pipelines.cli.session import opened


def migrate(
    with_source: Annotated[
        bool, typer.Option("--with-source", help="Also make the source's tables in a database of its own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the tables to the newest shape; a source in another database is left alone unless asked."""
    from pipelines.postgres import migrations
    from pipelines.runs.log_retention import make_months_ahead

    with opened() as (databases, settings):
        report = migrations.migrate(databases, settings, with_source=with_source)
        months = make_months_ahead(databases, settings) if databases.same or with_source else ()
    if as_json:
        print_json(report, changed=report.changed, log_months_made=months)
    else:
        for branch in report.branches:
            print_line(str(branch))
        if months:
            print_line(f"execution_logs: partitions made for {', '.join(months)}")
