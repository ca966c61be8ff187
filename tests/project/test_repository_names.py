"""Repositories are named alike, return records, and leave it to the unit of work to commit."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from tests.support.source_texts import python_files, statements

MODULES = [
    path for path in python_files("pipelines/executions", "pipelines/query") if path.stem != "__init__"
]

# Where a transaction, or a row of the log of accesses, is kept for good.
COMMITTING = {"pool.py", "transactions.py", "unit_of_work.py"}

# Groups of statements about rows that a tenant may see.
BEGINNINGS = [name for name, text in statements().items() if "/visible" in name and "{visible" not in text]
GROUPS = {name.partition("/")[0] for name in BEGINNINGS}
# Statements about a transaction, about blobs of every tenant, conditions, and a COPY, which takes no values.
OF_NOBODY = {
    "execution_logs/copy_lines",
    "execution_logs/of_any_level",
    "execution_logs/of_one_level",
    "execution_logs/of_problems",
    "executions/how_it_ended",
    "executions/judge_blobs",
    "executions/own_blobs",
    "executions/share_blobs",
    "executions/this_transaction",
}
OF_A_TENANT = [name for name in statements() if name.partition("/")[0] in GROUPS and name not in OF_NOBODY]
QUESTIONS = [name for name in OF_A_TENANT if re.search(r"/(find|get)_", name)]


def module_of(path: Path) -> ModuleType:
    """The module of a file."""
    return import_module(f"pipelines.{path.parent.name}.{path.stem}")


def methods() -> Iterator[tuple[str, str, Any]]:
    """Yield the public methods of each repository: class, name and function."""
    for path in MODULES:
        for name, kind in vars(module_of(path)).items():
            if inspect.isclass(kind) and name.endswith("Repository") and kind.__module__.endswith(path.stem):
                for method, function in vars(kind).items():
                    if not method.startswith("_"):
                        yield name, method, function


METHODS = list(methods())


def test_there_are_repositories() -> None:
    """The control: what is read is really there."""
    assert len({name for name, _, _ in METHODS}) >= 6
    assert len(QUESTIONS) >= 4


@pytest.mark.parametrize(("repository", "method", "function"), METHODS)
def test_a_method_says_what_it_does_with_rows(repository: str, method: str, function: Any) -> None:
    """find_* gives entities, get_* computed figures, create* and delete* do that; there is no other."""
    assert repository
    assert re.fullmatch(r"(find|get)_[a-z_]+|(create|delete)(_[a-z_]+)?|sync_metadata", method)
    if method.startswith("find_"):
        assert gives_records(get_type_hints(function)["return"])


def gives_records(kind: Any) -> bool:
    """Whether it is a frozen record, perhaps none, or a tuple of such."""
    if get_origin(kind) is tuple:
        inner, more = get_args(kind)
        return more is Ellipsis and gives_records(inner)
    records = [each for each in get_args(kind) or [kind] if each is not NoneType]
    return all(is_dataclass(each) and each.__dataclass_params__.frozen for each in records)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_repository_commits(path: Path) -> None:
    """Whoever began the transaction ends it, or half a change would stay."""
    ending = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "rollback", "close")
    }

    assert not ending or path.name in COMMITTING


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_begins_with_the_visible_rows(name: str) -> None:
    """Whose rows, and that deleted ones are left out, is said once for all questions of a group."""
    assert "{visible" in statements()[name]


@pytest.mark.parametrize("name", OF_A_TENANT)
def test_a_statement_of_a_repository_names_the_organization(name: str) -> None:
    """Itself, or by beginning with rows that do."""
    statement = statements()[name]

    assert "%(organization_id)s" in statement or "{visible" in statement


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_visible_rows_are_the_tenants_own_and_not_deleted(name: str) -> None:
    """Unless they are asked for."""
    statement = statements()[name]

    assert "organization_id = %(organization_id)s" in statement
    assert "deleted_at IS NULL" in statement
    assert "%(include_deleted)s" in statement
