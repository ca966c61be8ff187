"""The tables of columns in docs/ are what the subjects declare: `make docs` writes them."""

from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql

from pipelines.postgres.tables import metrics_table
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = {ROOT / "docs/metrics.md": JOBS, ROOT / "docs/steps.md": STEPS}
BEGINNING, END = "<!-- columns: made by `make docs` -->\n", "<!-- end of columns -->\n"


@pytest.mark.parametrize(("page", "subject"), PAGES.items(), ids=["metrics", "steps"])
def test_a_page_lists_the_columns_of_its_subject(page: Path, subject: Subject) -> None:
    """A new measure is on the page with the comment that its column has, or this fails: run `make docs`."""
    text = page.read_text()

    assert text == with_columns(text, subject), "run `make docs`"
    assert all(f"| `{name}` |" in text for name in subject.cell_columns)


def with_columns(text: str, subject: Subject) -> str:
    """The page, its table of columns made anew."""
    before, rest = text.split(BEGINNING)
    lines = ["| column | type | meaning |", "| --- | --- | --- |"]
    for column in metrics_table(subject, MetaData()).columns:
        kind = column.type.compile(dialect=postgresql.dialect()).lower()
        kind += "" if column.nullable else ", not null"
        lines.append(f"| `{column.name}` | {kind} | {column.comment} |")
    return before + BEGINNING + "\n".join(lines) + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    for each, of in PAGES.items():
        each.write_text(with_columns(each.read_text(), of))
