"""`execmetrics doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipelines.cli.arguments import AsJson, opened
from pipelines.cli.output import plain, print_json, print_line, print_table
from pipelines.errors import InvalidMapping
from pipelines.subjects.jobs import Status

if TYPE_CHECKING:
    from pipelines.doctor.checks import Diagnosis, Finding

_ABSENT: Final = {
    "name": "(its id)",
    "time_zone": "(always UTC)",
    "deleted_at": "(never)",
    "client_id": "(none)",
    "initiator_type": "(nobody is named)",
}


_SCHEMA = typer.Option(metavar="NAME", help="The schema that the application's tables are in.")
_TABLE = typer.Option("--table", metavar="T=NAME", help="What a table is called, like jobs=Execution.")
_COLUMN = typer.Option(
    "--column", metavar="T.C=NAME", help="What a column is called, like jobs.status=state."
)
_STATUS = typer.Option("--status", metavar="WORD=STATUS", help="What a status means, like DONE=COMPLETED.")
_ROLE = typer.Option(metavar="ROLE", help="Whose rights to look at; else the role that connects.")
_FORGET = typer.Option("--forget", help="Forget what was said before and stands in the views by now.")
_ONLY_SQL = typer.Option("--sql", help="Print only the statements that mend it, in their order.")


def doctor(
    schema: Annotated[str, _SCHEMA] = "public",
    tables: Annotated[list[str] | None, _TABLE] = None,
    columns: Annotated[list[str] | None, _COLUMN] = None,
    statuses: Annotated[list[str] | None, _STATUS] = None,
    role: Annotated[str | None, _ROLE] = None,
    forget: Annotated[bool, _FORGET] = False,
    only_sql: Annotated[bool, _ONLY_SQL] = False,
    as_json: AsJson = False,
) -> None:
    """Say what keeps the source from being read, and print the SQL that mends it; exit 1 if a refresh would
    stumble over it."""
    from pipelines.doctor.checks import examine
    from pipelines.doctor.matching import Said

    said = Said(
        schema=schema,
        tables=dict(_pair(text) for text in tables or ()),
        columns={_column(name): column for name, column in map(_pair, columns or ())},
        statuses={label: _status(status) for label, status in map(_pair, statuses or ())},
        forget=forget,
    )
    with opened() as run:
        diagnosis = examine(run, said, role=role)
    if as_json:
        print_json(_document(diagnosis))
    elif only_sql:
        _print_script(diagnosis)
    else:
        _show(diagnosis)
    if diagnosis.blocking:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, meant = text.partition("=")
    if not (name and equals and meant):
        raise InvalidMapping(f"({text})")
    return name, meant


def _column(text: str) -> tuple[str, str]:
    table, _, column = text.partition(".")
    return table, column


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise InvalidMapping(f"{text!r} is none of {', '.join(Status)}.") from None


def _document(diagnosis: Diagnosis) -> dict[str, object]:
    found = diagnosis.findings
    findings = [plain(each) | {"why": each.why, "blocking": each.blocking} for each in found]
    document: dict[str, object] = plain(diagnosis)
    return document | {"findings": findings, "blocking": diagnosis.blocking, "sql": diagnosis.script}


def _show(diagnosis: Diagnosis) -> None:
    print_line(f"The source {diagnosis.database}, as {diagnosis.role} sees it:")
    print_line()
    rows = (
        (f"{found.table}.{name}", f"{found.read_from}.{column}" if column else _ABSENT.get(name))
        for found in diagnosis.tables
        if found.read_from
        for name, column in found.columns.items()
    )
    print_table(["contract", "read from"], rows)
    print_line()
    if not diagnosis.findings:
        print_line("Nothing to mend: execmetrics refresh can run.")
        return
    findings = []
    for number, each in enumerate(diagnosis.findings, 1):
        must, why = "yes" if each.blocking else "no", f"{each.why} {each.remedy}".strip()
        findings.append((str(number), must, each.what, each.where, why))
    print_table(["", "must", "what", "where", "why"], findings)
    print_line()
    if diagnosis.script:
        print_line("-- What mends it, to be run by the owner of the tables in this order, each by itself:")
        _print_script(diagnosis)
        print_line()
    if diagnosis.blocking:
        print_line(f"{diagnosis.blocking} of {len(diagnosis.findings)} findings keep a refresh from running.")
    else:
        print_line("execmetrics refresh can run as it is.")


def _print_script(diagnosis: Diagnosis) -> None:
    mended = ""
    for statement in diagnosis.script:
        before, mended = mended, ", ".join(_mended_by(statement, diagnosis.findings))
        if mended != before:
            print_line(f"-- mends {mended}")
        for line in statement.split("\n"):
            print_line(line)


def _mended_by(statement: str, findings: Sequence[Finding]) -> list[str]:
    return [f"{number} ({each.what})" for number, each in enumerate(findings, 1) if statement in each.sql]
