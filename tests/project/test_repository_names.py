"""Repositories are named alike, return records, commit nothing, and serve who was admitted in one place."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from pipelines.query.tenant import Tenant, admit
from tests.support.planting import new_id
from tests.support.source_texts import ROOT, python_files

_FOLDERS = ("pipelines/executions", "pipelines/query")
MODULES = [path for path in python_files(*_FOLDERS) if path.stem != "__init__"]

# Where a transaction, or a row of the log of accesses, is kept for good.
COMMITTING = {"pool.py", "transactions.py", "unit_of_work.py"}


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


def test_a_method_says_what_it_does_with_rows() -> None:
    """find_* gives entities, get_* computed figures, create* and delete* do that; there is no other."""
    repositories = set()
    for repository, method, function in methods():
        repositories.add(repository)
        assert re.fullmatch(r"(find|get)_[a-z_]+|(create|delete)(_[a-z_]+)?|sync_metadata", method), method
        assert not method.startswith("find_") or gives_records(get_type_hints(function)["return"]), method
    assert len(repositories) >= 6


def gives_records(kind: Any) -> bool:
    """Whether it is a frozen record, perhaps none, or a tuple of such."""
    if get_origin(kind) is tuple:
        inner, more = get_args(kind)
        return more is Ellipsis and gives_records(inner)
    records = [each for each in get_args(kind) or [kind] if each is not NoneType]
    return all(is_dataclass(each) and each.__dataclass_params__.frozen for each in records)


def test_no_repository_commits() -> None:
    """The code that began a transaction ends it, or half a change would stay."""
    called = re.compile(r"(?<!\bos)\.(commit|rollback|close)\(")

    assert {path.name for path in MODULES if called.search(path.read_text("utf-8"))} <= COMMITTING


def test_only_authentication_admits_a_tenant() -> None:
    """Nobody else in the product names the function that makes one."""
    paths = python_files("pipelines", "assets")
    naming = [path for path in paths if re.search(r"\badmit\b", path.read_text("utf-8"))]

    assert naming == [ROOT / "pipelines/api/auth.py", ROOT / "pipelines/query/tenant.py"]


def test_a_tenant_cannot_be_made_up() -> None:
    """Its class refuses whoever has not gone through the door; two of one organization are the same."""
    organization = new_id()

    with pytest.raises(TypeError, match=r"tenancy\.admit"):
        Tenant(organization, object())

    assert admit(organization) == admit(organization) != admit(new_id())
