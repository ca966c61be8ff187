"""Statements are kept in groups, and each says what it is for."""

import pytest

from pipelines.postgres.statements import render, statement
from tests.support.source_texts import statements

NAMES = list(statements())


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_opens_with_what_it_is_for(name: str) -> None:
    """A reader finds a sentence first."""
    first = statement(name).splitlines()[0]

    assert first.startswith("-- ")
    assert len(first.split()) > 3


# The month that the demo makes up is no part of the product.
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("generated_month/")])
def test_a_statement_says_what_it_takes_and_gives(name: str) -> None:
    """The header has a purpose, then what the statement takes, then what it gives."""
    header = [line for line in statement(name).splitlines() if line.startswith("--")]
    text = "\n".join(header)

    assert "Takes" in text
    assert "Gives:" in text
    assert text.index("Takes") < text.index("Gives:")
    assert not header[0].startswith(("-- Takes:", "-- Gives:"))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("source", "verify/"))])
def test_no_statement_reads_the_payload(name: str) -> None:
    """Columns of the source are named one by one; neither `result` nor a star is among them."""
    code = "\n".join(line for line in statement(name).splitlines() if not line.strip().startswith("--"))

    assert "result" not in code
    assert "*" not in code.replace("count(*)", "").replace("100.0 * ", "").replace(" * 1000", "")


@pytest.mark.parametrize("name", ["source_jobs/nothing", "source_jobs"])
def test_a_statement_that_is_not_there_is_an_error(name: str) -> None:
    """A misspelt name fails at once."""
    with pytest.raises(LookupError):
        statement(name)


def test_a_place_that_nothing_fills_is_an_error() -> None:
    """A statement never reaches a server with a place left open."""
    with pytest.raises(LookupError):
        render("source_jobs/jobs", {})
