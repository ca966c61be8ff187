"""The statements under sql/: named, explained, used, and free of values."""

import re
from pathlib import Path

import pytest

from tests.support.source_texts import ROOT, can_be_spelt, python_files, statements, strings

STATEMENTS = statements()
NAMES = list(STATEMENTS)

GROUPS = {name.partition("/")[0] for name in NAMES}

# The oracles of `verify` say the rules again in their own words, so that they share none of the code's.
ORACLES = ("verify/counted_jobs", "verify/counted_steps")


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_says_what_it_is_for_takes_and_gives(name: str) -> None:
    """Whoever opens the file reads its purpose, its values and its rows before any SQL."""
    header = re.match(r"(?:--[^\n]*\n)+", text(name))

    assert header, "the file begins with its header"
    said = " ".join(line.removeprefix("--").strip() for line in header.group().splitlines())
    assert re.match(r"[A-Z].*[.:]", said)
    assert re.search(r"Takes\b.+", said)
    assert re.search(r"\b[Gg]ives\b.+", said)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_one_statement(name: str) -> None:
    """Nothing hides behind a semicolon."""
    assert ";" not in without_comments(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_used(name: str) -> None:
    """Some code, or a place of another statement, names each: one that nobody needs goes with its code."""
    group, _, within = name.partition("/")
    places = [each for each, text in STATEMENTS.items() if f"{{{within}}}" in text and each.startswith(group)]
    assert can_be_spelt(name) or can_be_spelt(within) or places


def test_every_statement_that_code_names_exists() -> None:
    """A renamed statement would be noticed at the first run only."""
    named = {
        value
        for path in python_files("pipelines", "assets")
        for _, value in strings(path)
        if value.partition("/")[0] in GROUPS and re.fullmatch(r"[a-z_]+/[a-z_]*[a-z]", value)
    }

    assert named <= set(NAMES)
    assert len(named) > 20


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ORACLES])
def test_a_statement_takes_the_sentinels_as_values(name: str) -> None:
    """Which value means "all" or "none" is known in one place, and that is not here."""
    # The scope of an extraction is a word of its own.
    statement = without_comments(name).replace("current_setting('execmetrics.scope') = 'all'", "")

    assert re.findall(r"'(?:all|unknown)'|0{8}-0{4}-|f{8}-f{4}-", statement, re.IGNORECASE) == []


def text(name: str) -> str:
    """The statement with its header."""
    return STATEMENTS[name]


def without_comments(name: str) -> str:
    """The statement alone."""
    return re.sub(r"--[^\n]*", "", text(name))


def test_no_folder_of_data_is_a_package() -> None:
    """sql, migrations and tests are folders of files; an __init__.py would make packages of them."""
    inits: list[Path] = [
        path for folder in ("sql", "migrations", "tests") for path in (ROOT / folder).rglob("__init__.py")
    ]

    assert inits == []
