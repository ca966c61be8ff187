"""Which of a tenant's jobs are meant: those of all workflows, clients and initiators, of one, or of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import GroupingSet


class Each(Enum):
    """In place of one workflow, client or initiator: a row for each."""

    EACH = "each"


EACH: Final = Each.EACH


@dataclass(frozen=True)
class Slice:
    """A dimension is all together (None), one (an id; `NO_CLIENT` for jobs without), or `EACH`."""

    workflow_id: UUID | Each | None = None
    client_id: UUID | Each | None = None
    initiator_type: str | Each | None = None

    @property
    def grouping_set(self) -> GroupingSet:
        """By which dimensions the cells are broken down that this is about."""
        return frozenset(name for name in JOBS.dimension_columns if getattr(self, name) is not None)

    @property
    def values(self) -> Mapping[str, UUID | str | None]:
        """The same for a statement, to which NULL is each, and all together a sentinel."""
        return {each.column: self._value(each.column, each.every) for each in JOBS.dimensions}

    def _value(self, name: str, everything: UUID | str) -> UUID | str | None:
        asked: UUID | str | Each | None = getattr(self, name)
        if asked is EACH:
            return None
        return everything if asked is None else asked
