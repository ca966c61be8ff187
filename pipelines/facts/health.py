"""Damaged facts: they are told from other trouble, set aside, and removed when nobody needs them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import polars as pl
from deltalake.exceptions import DeltaError

from pipelines.errors import FactsUnusable, is_failure, is_panic
from pipelines.facts.delta import local_folder, opened, refuse_what_is_no_damage, rows_of, shown
from pipelines.fault_points import FaultPoint, passing
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Fact

T = TypeVar("T")

_ASIDE: Final = ".unusable-"
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"

_READING_FAILED: Final = (pl.exceptions.PolarsError, DeltaError, OSError)


@contextmanager
def reading_facts(location: str, fact: Fact = JOBS.fact) -> Iterator[None]:
    """Raise `FactsUnusable` where the body fails because the facts at this location are damaged.

    Only then are they read whole, to find out; an error that is not their fault, such as a full disk, passes.
    """
    try:
        yield
    except BaseException as failed:
        # Polars panics over a file that is shorter than its commit said, and a panic is no Exception.
        if not (isinstance(failed, _READING_FAILED) or is_panic(failed)):
            raise
        refuse_what_is_no_damage(location, failed)
        examine(location, failed, fact)
        raise


def examine(location: str, because: BaseException | None = None, fact: Fact = JOBS.fact) -> None:
    """Read every file in use; raises `FactsUnusable` when one is missing or cannot be decoded."""
    table = opened(location, fact)
    if table is None:
        raise FactsUnusable(f"({shown(location)}: nothing is there)") from because
    try:
        # Each of the two readers stumbles over damage that the other overlooks.
        rows_of(table, fact).select(pl.all().hash().sum()).collect()
        for batch in table.scan():
            del batch
    # The second raises nothing narrower.
    except BaseException as unreadable:
        if not is_failure(unreadable):
            raise
        refuse_what_is_no_damage(location, unreadable)
        raise FactsUnusable(f"({shown(location)})") from unreadable


def with_new_facts(location: str, fact: Fact, work: Callable[[], T]) -> T:
    """Do the work; where the facts turn out to be unusable, put them aside and do it anew."""
    try:
        with reading_facts(location, fact):
            return work()
    except FactsUnusable:
        set_aside(location)
        passing(FaultPoint.FACTS_SET_ASIDE)
        return work()


def set_aside(location: str) -> Path | None:
    """Rename a folder of unusable facts, so that the next run starts anew; None when no folder is there.

    Raises `FactsUnusable` when they lie in an object store, where nothing can be renamed.
    """
    folder = local_folder(location)
    if folder is None:
        raise FactsUnusable(f"({shown(location)})")
    try:
        return folder.rename(folder.with_name(f"{folder.name}{_ASIDE}{datetime.now(UTC):{_STAMP}}"))
    except FileNotFoundError:
        return None


def find_set_aside(location: str) -> dict[Path, datetime]:
    """The folders that were set aside from this location, and when; none in an object store."""
    folder = local_folder(location)
    if folder is None or not folder.parent.is_dir():
        return {}
    there = {aside: _set_aside_at(aside, f"{folder.name}{_ASIDE}") for aside in folder.parent.iterdir()}
    return {aside: since for aside, since in sorted(there.items()) if since}


def remove_folder(folder: Path) -> int:
    """Remove a folder that was set aside; return how many files it was."""
    files = sum(entry.is_file() for entry in folder.rglob("*"))
    shutil.rmtree(folder)
    return files


def _set_aside_at(folder: Path, beginning: str) -> datetime | None:
    if not folder.name.startswith(beginning):
        return None
    try:
        return datetime.strptime(folder.name.removeprefix(beginning), _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
