"""Statements live alone in files that say what they are for."""

import pytest

from pipelines.storage.statements import statement
from tests.support.places import ROOT

SQL = ROOT / "sql"
PATHS = sorted(str(path.relative_to(SQL)) for path in SQL.rglob("*.sql"))


@pytest.mark.parametrize("path", PATHS)
def test_a_statement_opens_with_what_it_is_for(path: str) -> None:
    """Whoever opens the file reads a sentence first."""
    first = statement(path).splitlines()[0]

    assert first.startswith("-- ")
    assert len(first.split()) > 3


# The month that the demo makes up is no part of the product.
@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("demo/")])
def test_a_statement_says_what_it_takes_and_gives(path: str) -> None:
    """The header has a purpose, then what the statement takes, then what it gives."""
    header = [line for line in statement(path).splitlines() if line.startswith("--")]
    text = "\n".join(header)

    assert "-- Takes:" in text
    assert "-- Gives:" in text
    assert text.index("-- Takes:") < text.index("-- Gives:")
    assert not header[0].startswith(("-- Takes:", "-- Gives:"))


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith(("extract/", "verify/"))])
def test_no_statement_reads_the_payload(path: str) -> None:
    """Columns of the source are named one by one; neither `result` nor a star is among them."""
    code = "\n".join(line for line in statement(path).splitlines() if not line.strip().startswith("--"))

    assert "result" not in code
    assert "*" not in code.replace("count(*)", "").replace("100.0 * ", "").replace(" * 1000", "")


def test_a_statement_that_is_not_there_is_an_error() -> None:
    """A misspelt path fails at once."""
    with pytest.raises(FileNotFoundError):
        statement("extract/nothing.sql")
