"""The proof itself: enough histories, and mutants that can be made and are killed by a test."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.kill_mutants import FOLDERS, ROOT, judge
from tests.mutants.mutants import MUTANTS
from tests.mutants.mutating import Change, Mutant, Python, Sql
from tests.support.histories.profiles import PROFILES

# A module and a statement to make mistakes in.
TILL = """
TAXES = (7, 19)

class Till:
    def total(self, prices):
        for price in prices:
            if price < 0:
                raise ValueError(price)
        return round(sum(prices), 2)

    def change(self, paid, prices):
        due = self.total(prices)
        return round(paid - due, 2)
"""
SALES = """-- name: sales
-- Which sales of a customer were paid: AND sale.paid.
SELECT sale.id, sale.price
FROM shop.sales AS sale
WHERE sale.customer_id = %(customer_id)s AND sale.paid

-- name: others
SELECT sale.id FROM shop.sales AS sale WHERE sale.paid AND sale.customer_id = 0
"""
FIXTURE_FAILS = "import pytest\n@pytest.fixture\ndef one(): raise ValueError\ndef test(one): pass"
CHANGE, TAXES = Python("pipelines.till", "Till.change"), Python("pipelines.till", "TAXES")
TOTAL, TWICE = Python("pipelines.till", "Till.total"), Python("pipelines.till", "Twice")
PAID = Sql("shop/sales")


def test_the_whole_suite_tells_two_hundred_histories() -> None:
    """Each profile has a test that tells so many as it says, when everything is run."""
    assert sum(profile.histories for profile in PROFILES.values()) >= 200


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_still_be_made(mutant: Mutant) -> None:
    """Each of its places is in the product, once, and the test that has to notice it is in the suite."""
    texts = mutant.make_texts(ROOT)

    assert all(text != path.read_text("utf-8") for path, text in texts.items())
    path, _, name = mutant.test.partition("::")
    assert f"def {name}" in (ROOT / path).read_text("utf-8")
    assert Path(path).parts[0] in FOLDERS


def test_the_page_about_reliability_lists_every_mutant() -> None:
    """And no other, in their order."""
    page = (ROOT / "docs/reliability.md").read_text("utf-8")
    chapter = page.partition("\n## Mutants\n")[2].partition("\n## ")[0]

    rows = [line for line in chapter.splitlines() if line.startswith("| ")][2:]

    tests = [mutant.test.rpartition("::")[2] for mutant in MUTANTS]
    assert rows == [
        f"| {of.name} | {of.breaks} | `{test}` |" for of, test in zip(MUTANTS, tests, strict=True)
    ]


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (CHANGE.replace("paid - due", "paid"), "paid - due", "paid"),
        (CHANGE.replace("due = self.total(prices)", "due = 0"), "due = self.total(prices)", "due = 0"),
        (CHANGE.replace("self.total(...)", "max(...)"), "self.total(prices)", "max(prices)"),
        (CHANGE.replace("round(..., 2)", "..."), "round(paid - due, 2)", "paid - due"),
        (TOTAL.replace("if price < 0: ...", "if False: ..."), "if price < 0:", "if False:"),
        (TOTAL.remove("raise ValueError(price)"), "raise ValueError(price)", "pass"),
        (TOTAL.insert_before("raise ...", "prices = []"), "raise", "prices = []; raise"),
        (CHANGE.insert_after("due = ...", "due += 1"), "self.total(prices)", "self.total(prices); due += 1"),
        (TAXES.replace("7", "0"), "(7, 19)", "(0, 19)"),
    ],
)
def test_a_mistake_is_made_in_its_function_alone(change: Change, old: str, new: str, tmp_path: Path) -> None:
    """An expression or a statement is replaced, removed or inserted, and all other code stays."""
    made, _ = mutated(tmp_path, change)

    assert TILL.count(old) == 1
    assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(TILL.replace(old, new)))


def test_a_mistake_is_made_in_its_statement_alone(tmp_path: Path) -> None:
    """A fragment of SQL is replaced or removed, and the comments stay."""
    changes = PAID.replace("sale.customer_id =", "sale.id ="), PAID.remove("AND sale.paid")

    _, made = mutated(tmp_path, *changes)

    condition = "WHERE sale.customer_id = %(customer_id)s AND sale.paid"
    assert SALES.count(condition) == 1
    assert made == SALES.replace(condition, "WHERE sale.id = %(customer_id)s ")


@pytest.mark.parametrize(
    "till",
    [
        # Line breaks, comments and numbers are written otherwise.
        TILL.replace("paid - due, 2", "\n  paid  # in cash\n  - due,\n  0x2,\n"),
        # Another function says the same.
        f"{TILL}\ndef rest(paid, due):\n    return round(paid - due, 2)\n",
        # The function has another statement.
        TILL.replace("due = self", "paid = paid or 0\n        due = self"),
    ],
)
def test_how_a_function_is_written_makes_no_difference(till: str, tmp_path: Path) -> None:
    """A mutant does not depend on formatting, comments, other functions and other statements."""
    made, _ = mutated(tmp_path, CHANGE.replace("round(paid - due, 2)", "0"), till=till)

    assert till != TILL
    assert made.count("return 0") == 1


def test_how_a_statement_is_written_makes_no_difference(tmp_path: Path) -> None:
    """A mutant does not depend on spaces, comments and the case of words."""
    sales = SALES.replace("AND sale.paid\n", "\n    and -- in cash\n Sale . PAID\n")

    _, made = mutated(tmp_path, PAID.remove("AND sale.paid"), sales=sales)

    assert made == SALES.replace("AND sale.paid\n", "\n    \n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Python("pipelines.shop", "Till.total").remove("raise ..."), "module pipelines.shop is gone"),
        (Python("pipelines.till", "total").remove("raise ..."), "pipelines.till has no definition of total"),
        (CHANGE.replace("due - paid", "0"), "Till.change of module pipelines.till has no place like"),
        # It is an expression, and no statement of its own.
        (CHANGE.remove("self.total(prices)"), "has no place like `self.total(prices)`"),
        (Sql("shop/refunds").remove("AND sale.paid"), "statement shop/refunds is gone"),
        # What a comment says is no SQL.
        (PAID.remove("were paid"), "statement shop/sales has no place like `were paid`"),
        (TOTAL.replace("price", "0"), "Till.total of module pipelines.till has 2 places like `price`"),
        (PAID.replace("sale", "sold"), "statement shop/sales has 5 places like `sale`"),
        (TWICE.remove("pass"), "module pipelines.till has 2 definitions of Twice"),
    ],
)
def test_a_mutant_without_its_place_says_so(change: Change, reason: str, tmp_path: Path) -> None:
    """The message names the mutant, the function or the statement, and what is not found in it.

    A place that is there twice is not guessed, and nothing is written.
    """
    till = f"{TILL}\nclass Twice:\n    pass\nclass Twice:\n    pass\n"

    with pytest.raises(LookupError) as gone:
        mutated(tmp_path, change, till=till)

    assert str(gone.value).startswith('The mutant "of the shop" cannot be made: ')
    assert reason in str(gone.value)
    assert (tmp_path / "pipelines/till.py").read_text("utf-8") == till


@pytest.mark.parametrize(
    ("test", "killed_by", "reason"),
    [
        ("def test(): assert 1 == 2", "test", ""),
        ("def test(): pass", None, "it survived"),
        ("def test(): unknown()", None, "the copy cannot run (NameError)"),
        ("import unknown\ndef test(): pass", None, "the copy cannot run (ModuleNotFoundError)"),
        (FIXTURE_FAILS, None, "pytest or a fixture failed, and no test"),
    ],
)
def test_only_a_failing_test_kills_a_mutant(
    test: str, killed_by: str | None, reason: str, tmp_path: Path
) -> None:
    """A copy that cannot be imported or cannot run proves nothing about the suite."""
    (tmp_path / "test_it.py").write_text(test, "utf-8")

    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "-rf",
        "test_it.py",
    ]
    quicker = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    tested = subprocess.run(command, cwd=tmp_path, env=quicker, capture_output=True, text=True, check=False)

    verdict = judge(tested.returncode, tested.stdout + tested.stderr)
    assert (verdict.killed_by, verdict.reason) == (killed_by, reason)


def mutated(tree: Path, *changes: Change, till: str = TILL, sales: str = SALES) -> tuple[str, str]:
    """Write a product of one module and one statement, make changes in it, and give both texts."""
    paths = (tree / "pipelines/till.py", tree / "sql/shop.sql")
    for path, text in zip(paths, (till, sales), strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    Mutant("of the shop", "the change", *changes, test="").apply(tree)
    return paths[0].read_text("utf-8"), paths[1].read_text("utf-8")
