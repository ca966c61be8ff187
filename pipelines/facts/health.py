"""Damaged facts: they are told from other trouble, and set aside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import polars as pl
from deltalake.exceptions import DeltaError

from pipelines.errors import FactsUnusable, is_failure, is_panic
from pipelines.facts.delta import opened, rows_of
from pipelines.facts.folder import refuse_what_is_no_damage, set_aside, shown
from pipelines.fault_points import FaultPoint, passing
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Fact

T = TypeVar("T")

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
