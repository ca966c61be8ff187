"""What a tenant asks about, and what it is answered: frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.rollup import GroupingSet, Period
from pipelines.subjects.subject import Subject


class Each(Enum):
    """In place of one workflow, client or initiator: a row for each."""

    EACH = "each"


EACH: Final = Each.EACH

# All together (None), one (an id or a name; `NO_CLIENT` for jobs without a client), or `EACH`.
Choice = UUID | str | Each | None


@dataclass(frozen=True)
class Slice:
    """Which cells of a subject are meant: a choice for each dimension, all together where none is made."""

    subject: Subject
    choices: Mapping[str, Choice]

    def __post_init__(self) -> None:
        unknown = set(self.choices) - set(self.subject.dimension_columns)
        if unknown:
            raise TypeError(f"{self.subject.name} have no dimension {', '.join(sorted(unknown))}")

    @property
    def grouping_set(self) -> GroupingSet:
        """By which dimensions the cells are broken down that this is about."""
        return frozenset(name for name, choice in self.choices.items() if choice is not None)

    @property
    def values(self) -> dict[str, UUID | str | None]:
        """The same for a statement, to which NULL is each, and all together a sentinel."""
        return {each.column: self._value(each.column, each.every) for each in self.subject.dimensions}

    def _value(self, column: str, every: UUID | str) -> UUID | str | None:
        choice = self.choices.get(column)
        return every if choice is None else None if isinstance(choice, Each) else choice


@dataclass(frozen=True)
class RangeFigures:
    """How the rows of a range ended and how long they took: `figures` by the names of the measures.

    Counts are 0 without rows, other figures None. Percentiles are exact where the range is one stored bucket.
    Otherwise they are `estimated`: off by no more than `relative_error`, which is None, as they are, where
    nothing that is stored tells them. Percentiles of rows with one outcome are never estimated. In a
    breakdown, `which` is the value of the dimension, and `name` what the source calls it, None for no name.
    """

    figures: Mapping[str, Any]
    estimated: bool
    relative_error: float | None
    which: Any = None
    name: str | None = None

    def __getitem__(self, measure: str) -> Any:
        return self.figures[measure]

    @property
    def has_no_client(self) -> bool:
        """Is this the row of the jobs without a client."""
        return bool(self.which == NO_CLIENT)


@dataclass(frozen=True)
class MetricRow:
    """One stored row: `figures` by column name. A dimension that is not broken down is None.

    Jobs without a client are `has_no_client`, with `client_id` None; an unknown initiator is `unknown`.
    """

    period: Period
    period_start: datetime
    workflow_id: UUID | None
    client_id: UUID | None
    has_no_client: bool
    initiator_type: str | None
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Completeness:
    """Through when the metrics are complete, and of which version of the facts they are.

    `organization_name` is None when the source has none. Whatever changes a figure changes `published_at` or
    `edition`.
    """

    organization_name: str | None
    complete_through: datetime
    extracted_at: datetime
    published_at: datetime
    published_version: int
    edition: int
    verified_at: datetime | None
    time_zone: str
