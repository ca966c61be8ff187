"""A table for a spreadsheet holds what the JSON does, and nothing that the spreadsheet would carry out."""

import csv
import io
from itertools import product
from typing import Any

import pytest

from pipelines.api.formats import table
from tests.postgres.api.conftest import QUESTIONS, RANGE, Api
from tests.support.planting import new_id

FORMULAS = ['=HYPERLINK("http://example.com")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"]


def read(text: str) -> list[dict[str, str]]:
    """The lines of a table by the names of its columns."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_table_says_what_the_document_does(shared: Api, question: str) -> None:
    """Line by line and column by column, under the names that the JSON has."""
    asked = QUESTIONS[question]
    document = shared.ask(shared.tenants[2], question, **asked).json()
    answer = shared.ask(shared.tenants[2], question, **asked, format="csv")

    records = document.get("rows") or document.get(question) or [document]
    lines = read(answer.text)
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        assert line.keys() == record.keys()
        for column, value in record.items():
            assert as_cell(value) == line[column], column
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{question}.csv"'


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/csv", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/json;q=0.5, text/csv;q=0.8", "text/csv"),
        ("application/json, text/csv;q=0.8", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=much", "application/json"),
        ("text/html, */*", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_form_is_negotiated(shared: Api, accept: str, form: str) -> None:
    """`Accept` decides between the two; whoever takes anything gets JSON.

    The parameter wins: a link can be pasted into a browser, which has its own idea of what it accepts.
    """
    asked = RANGE | {"headers": {"Accept": accept}}

    answer = shared.ask(shared.tenants[0], "clients", **asked)
    named = shared.ask(shared.tenants[0], "clients", **asked, format="json")

    assert answer.headers["Content-Type"].partition(";")[0] == form
    assert named.headers["Content-Type"] == "application/json"


def test_a_name_is_never_a_formula(own: Api) -> None:
    """What the source calls a workflow, a client or an initiator is text, with an apostrophe before it."""
    tenant = own.tenants[0]
    for kind, formula in product(("workflows", "clients"), FORMULAS):
        own.pipeline.source.execute(
            f"INSERT INTO orchestration.{kind} (id, organization_id, name) VALUES (%s, %s, %s)",
            [new_id(), tenant.organization, formula],
        )
    own.pipeline.plant_jobs(tenant, [{"initiator_type": formula} for formula in FORMULAS])
    own.pipeline.refresh()

    rows = RANGE | {"period": "day", "initiator": "each"}
    for question, asked, column in (
        ("workflows", RANGE, "name"),
        ("clients", RANGE, "name"),
        ("initiators", RANGE, "initiator_type"),
        ("metrics", rows, "initiator_type"),
    ):
        cells = {line[column] for line in read(own.ask(tenant, question, **asked, format="csv").text)}
        assert {f"'{formula}" for formula in FORMULAS} <= cells
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n"))]
    names = {client["name"] for client in own.ask(tenant, "clients", **RANGE).json()["clients"]}
    assert set(FORMULAS) < names


def test_a_number_stays_a_number() -> None:
    """A minus is no formula where the value is no text, and nothing is an empty cell."""
    written = table(["a", "b", "c", "d"], [{"a": -1, "b": -2.5, "c": None, "d": True}])

    assert written == "a,b,c,d\r\n-1,-2.5,,true\r\n"


def test_a_table_without_lines_has_its_columns(shared: Api) -> None:
    """An empty answer is still a table, of the measures that were asked for."""
    answer = shared.ask(
        shared.tenants[0],
        "metrics",
        since="2020-01-01",
        until="2020-02-01",
        period="day",
        measures="failed_executions",
        format="csv",
    )

    assert answer.text == (
        "period_start,workflow_id,client_id,has_no_client,initiator_type,failed_executions\r\n"
    )


def as_cell(value: Any) -> str:
    """A value of the JSON as a cell says it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
