"""`execmetrics grants`."""

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.arguments import AsJson
from pipelines.cli.output import print_json, print_line

_PURPOSES = {
    "source_reader": "reads the columns of the source that a run needs, and no payload",
    "writer": "publishes the aggregates",
    "dashboard_reader": "reads the aggregates and changes nothing",
    "application": "reads and writes executions, and can only add to phi_access_log",
}


class Database(StrEnum):
    """Whose database statements are run in."""

    SOURCE = "source"
    ANALYTICS = "analytics"


def grants(
    source_reader: Annotated[
        str, typer.Option(metavar="ROLE", help="Role that reads the source.")
    ] = "execmetrics_source_reader",
    writer: Annotated[
        str, typer.Option(metavar="ROLE", help="Role that writes the aggregates.")
    ] = "execmetrics_writer",
    dashboard_reader: Annotated[
        str, typer.Option(metavar="ROLE", help="Role that dashboards connect as.")
    ] = "execmetrics_dashboard_reader",
    application: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Role of a program that uses the tables of executions."),
    ] = None,
    database: Annotated[
        Database | None, typer.Option("--for", help="Only what is run in the database of one of them.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the roles, too, unless they are there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the GRANT statements of each role, for the databases that the settings name."""
    from pipelines.postgres import grants as privileges
    from pipelines.settings import load_settings

    granted = privileges.grants(
        load_settings(),
        source_reader=source_reader,
        writer=writer,
        dashboard_reader=dashboard_reader,
        application=application,
    )
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
