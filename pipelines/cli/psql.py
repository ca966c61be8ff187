"""`execmetrics psql`."""

from typing import Annotated

import typer

from pipelines.cli.session import opened


def psql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTION...]", help='What psql is called with, such as -- -c "SELECT 1".'),
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Open the database of the jobs.")] = False,
) -> None:
    """Open the database of the aggregates in psql, also the embedded one, whose server runs meanwhile."""
    from pipelines.postgres.programs import run_psql

    with opened() as (databases, _):
        code = run_psql(databases.source_url if source else databases.analytics_url, arguments or ())
    raise typer.Exit(code)
