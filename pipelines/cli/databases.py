"""`execmetrics migrate`, `import`, `grants` and `psql`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.arguments import AsJson, opened
from pipelines.cli.output import print_json, print_line, print_table


def migrate(
    with_source: Annotated[
        bool, typer.Option("--with-source", help="Also make the source's tables in a database of its own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the tables to the newest shape; a source in another database is left alone unless asked."""
    from pipelines.postgres import migrations
    from pipelines.runs.log_retention import make_months_ahead

    with opened() as run:
        report = migrations.migrate(run, with_source=with_source)
        months = make_months_ahead(run) if run.databases.same or with_source else ()
    if as_json:
        print_json(report, changed=report.changed, log_months_made=months)
    else:
        for branch in report.branches:
            print_line(str(branch))
        if months:
            print_line(f"execution_logs: partitions made for {', '.join(months)}")


_DIRECTORY = typer.Argument(metavar="DIR", help="A folder with jobs.csv.gz and the tables it refers to.")


def import_trace(
    directory: Annotated[Path, _DIRECTORY],
    as_json: AsJson = False,
) -> None:
    """Load a trace into the source, all of it or nothing; for development and tests."""
    from pipelines.devtools import trace_import as trace

    with opened(watched=True) as run:
        report = trace.import_trace(directory, run)
    if as_json:
        print_json(report)
        return
    rows = [(table.name, table.rows, table.rows_written) for table in report.tables]
    print_table(["table", "rows", "written"], rows)
    if report.ignored:
        print_line(f"Ignored, because the source has no table for them: {', '.join(report.ignored)}")


_PURPOSES = {
    "source_reader": "reads the columns of the source that a run needs, and no payload",
    "writer": "publishes the aggregates",
    "dashboard_reader": "reads the aggregates and changes nothing",
    "application": "reads and writes executions, and can only add to phi_access_log",
}


class Database(StrEnum):
    """The database that statements are run in: that of the jobs or that of the aggregates."""

    SOURCE = "source"
    ANALYTICS = "analytics"


def _role(help: str) -> Any:
    return typer.Option(metavar="ROLE", help=help)


_FOR = typer.Option("--for", help="Only what is run in the database of one of them.")
_CREATE = typer.Option("--create", help="Make the roles, too, unless they are there.")
_APPLICATION = _role("Role of a program that uses the tables of executions.")


def grants(
    source_reader: Annotated[str, _role("Role that reads the source.")] = "execmetrics_source_reader",
    writer: Annotated[str, _role("Role that writes the aggregates.")] = "execmetrics_writer",
    dashboard_reader: Annotated[
        str, _role("Role that dashboards connect as.")
    ] = "execmetrics_dashboard_reader",
    application: Annotated[str | None, _APPLICATION] = None,
    database: Annotated[Database | None, _FOR] = None,
    create: Annotated[bool, _CREATE] = False,
    as_json: AsJson = False,
) -> None:
    """Print the GRANT statements of each role, for the databases that the settings name."""
    from pipelines.postgres import grants as privileges
    from pipelines.settings import load_settings

    roles = {"source_reader": source_reader, "writer": writer, "dashboard_reader": dashboard_reader}
    granted = privileges.grants(load_settings(), **roles, application=application)
    granted = [role.created if create else role for role in granted if database in (None, role.of)]
    if as_json:
        print_json({"roles": granted})
        return
    for index, role in enumerate(granted):
        if index:
            print_line()
        print_line(f"-- {role.role} {_PURPOSES[role.purpose]}; run in the database {role.database}.")
        for statement in role.statements:
            print_line(statement)


def psql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTION...]", help='What psql is called with, such as -- -c "SELECT 1".'),
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Open the database of the jobs.")] = False,
) -> None:
    """Open the database of the aggregates in psql, also the embedded one, whose server runs meanwhile."""
    from pipelines.postgres.programs import run_psql

    with opened() as run:
        code = run_psql(run.databases.source_url if source else run.databases.analytics_url, arguments or ())
    raise typer.Exit(code)
