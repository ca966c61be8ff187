"""The statements under sql/: named, explained, used, free of values, and each tenant's own."""

import re

import pytest

from pipelines.postgres.statements import render, statement
from tests.support.source_texts import ROOT, can_be_spelt, python_files, statements, strings

STATEMENTS = statements()
GROUPS = {name.partition("/")[0] for name in STATEMENTS}

# The statements alone, without what is said about them.
CODE = {name: re.sub(r"--[^\n]*", "", text) for name, text in STATEMENTS.items()}

# The oracles of `verify` say the rules again in their own words, so that they share none of the code's.
ORACLES = ("verify/counted_jobs", "verify/counted_steps")

# Statements about rows that a tenant may see, but for those about a transaction, about blobs of every tenant,
# conditions, and a COPY, which takes no values.
VISIBLE = {name for name, text in STATEMENTS.items() if "/visible" in name and "{visible" not in text}
LINES = ("copy_lines", "of_any_level", "of_one_level", "of_problems")
OF_NOBODY = {f"execution_logs/{name}" for name in LINES}
OF_NOBODY |= {f"executions/{name}_blobs" for name in ("judge", "own", "share")}
OF_NOBODY |= {"executions/how_it_ended", "executions/this_transaction"}
_VISIBLE_GROUPS = {name.partition("/")[0] for name in VISIBLE}
_TENANTS = {name for name in STATEMENTS if name.partition("/")[0] in _VISIBLE_GROUPS} - OF_NOBODY
OF_A_TENANT = {name: STATEMENTS[name] for name in _TENANTS}


def test_a_statement_says_what_it_is_for_takes_and_gives() -> None:
    """A statement begins with its purpose, its values and its rows."""
    header = re.compile(r"(?:--[^\n]*\n)+")
    # The month that the demo makes up is no part of the product.
    of_product = [name for name in STATEMENTS if not name.startswith("generated_month/")]

    for name in of_product:
        begins = header.match(statement(name))
        assert begins, name
        said = " ".join(line.removeprefix("--").strip() for line in begins.group().splitlines())
        assert re.match(r"[A-Z](\S* ){1}.*[.:].*\bTakes\b.+\bGives\b.+", said), name


def test_a_statement_is_one_statement() -> None:
    """Nothing hides behind a semicolon."""
    assert [name for name, code in CODE.items() if ";" in code] == []


def test_a_statement_is_used() -> None:
    """Some code, or a place of another statement, names each: one that nobody needs goes with its code."""
    found = {name: re.findall(r"\{(\w+)\}", code) for name, code in STATEMENTS.items()}
    places = {f"{name.partition('/')[0]}/{place}" for name, those in found.items() for place in those}
    unnamed = STATEMENTS.keys() - places

    unused = [name for name in unnamed if not (can_be_spelt(name) or can_be_spelt(name.partition("/")[2]))]
    assert unused == []


def test_every_statement_that_code_names_exists() -> None:
    """A renamed statement would be noticed at the first run only."""
    spelt = {value for path in python_files("pipelines", "assets") for _, value in strings(path)}
    names = {value for value in spelt if re.fullmatch(r"[a-z_]+/[a-z_]*[a-z]", value)}
    named = {name for name in names if name.partition("/")[0] in GROUPS}

    assert named <= STATEMENTS.keys()
    assert len(named) > 20


def test_a_statement_takes_the_sentinels_as_values() -> None:
    """Which value means "all" or "none" is known in one place, and that is not here."""
    # The scope of an extraction is a word of its own.
    scope = "current_setting('execmetrics.scope') = 'all'"
    sentinel = re.compile(r"'(?:all|unknown)'|0{8}-0{4}-|f{8}-f{4}-", re.IGNORECASE)

    spelt = {name for name, code in CODE.items() if sentinel.search(code.replace(scope, ""))}

    assert spelt <= {*ORACLES}


def test_no_statement_reads_the_payload() -> None:
    """Columns of the source are named one by one; neither `result` nor a star is among them."""
    star = re.compile(r"count\(\*\)|100\.0 \* | \* 1000")
    reading = [name for name in CODE if name.startswith(("source", "verify/"))]

    assert [name for name in reading if re.search(r"result|\*", star.sub("", CODE[name]))] == []
    assert len(reading) > 20


@pytest.mark.parametrize("name", ["source_jobs/nothing", "source_jobs"])
def test_a_statement_that_is_not_there_is_an_error(name: str) -> None:
    """A misspelt name fails at once."""
    with pytest.raises(LookupError):
        statement(name)


def test_a_place_that_nothing_fills_is_an_error() -> None:
    """A statement never reaches a server with a place left open."""
    with pytest.raises(LookupError):
        render("source_jobs/jobs", {})


def test_a_question_begins_with_the_visible_rows() -> None:
    """The tenant, and that deleted rows are left out, is said once for all questions of a group."""
    questions = {name: text for name, text in OF_A_TENANT.items() if re.search(r"/(find|get)_", name)}

    assert [name for name, text in questions.items() if "{visible" not in text] == []
    assert len(questions) >= 4


def test_a_statement_of_a_tenant_names_the_organization() -> None:
    """Itself, or by beginning with rows that do; the database would show nobody else's rows anyway."""
    metrics = {name: text for name, text in STATEMENTS.items() if name.startswith("tenant_metrics/")}
    named = re.compile(r"%\(organization_id\)s|\{visible|\{summed\}")

    nameless = {name for name, text in (OF_A_TENANT | metrics).items() if not named.search(text)}

    assert nameless == {"tenant_metrics/in_spans"}


def test_the_visible_rows_are_the_tenants_own_and_not_deleted() -> None:
    """Unless they are asked for."""
    conditions = ("organization_id = %(organization_id)s", "deleted_at IS NULL", "%(include_deleted)s")

    for name in VISIBLE:
        assert [each for each in conditions if each not in STATEMENTS[name]] == [], name
    assert VISIBLE


def test_no_folder_of_data_is_a_package() -> None:
    """sql, migrations and tests are folders of files; an __init__.py would make packages of them."""
    folders = ("sql", "migrations", "tests")

    assert [path for folder in folders for path in (ROOT / folder).rglob("__init__.py")] == []
