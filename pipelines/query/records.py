"""What a tenant is answered: rows without sentinels, figures of ranges, and percentiles from histograms."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pipelines.query.ranges import Sources
from pipelines.query.tenant import Row
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.measures import RELATIVE_ERROR, Kind, middle_ms
from pipelines.subjects.subject import Subject


class Each(Enum):
    """In place of one workflow, client or initiator: a row for each."""

    EACH = "each"


EACH: Final = Each.EACH

# All together (None), one (an id or a name; `NO_CLIENT` for jobs without a client), or `EACH`.
Choice = UUID | str | Each | None

# A stored row: its start, what `said_of` gives for each dimension, and the figures that were asked for.
MetricRow = Mapping[str, Any]


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


def said_of(dimension: Dimension, value: UUID | str) -> dict[str, Any]:
    """The fields for a stored value of a dimension: None for all together, and the flag of the dimension."""
    if not dimension.flag:
        return {dimension.column: None if value == dimension.every else value}
    named = value not in (dimension.every, dimension.none)
    return {dimension.column: value if named else None, dimension.flag: value == dimension.none}


def stored_value(dimension: Dimension, row: MetricRow) -> UUID | str:
    """The stored value of a dimension, of which `said_of` made the fields of a row."""
    if dimension.flag and row[dimension.flag] and dimension.none is not None:
        return dimension.none
    value: UUID | str | None = row[dimension.column]
    return dimension.every if value is None else value


def metric_of(row: Row, subject: Subject, measures: Collection[str]) -> MetricRow:
    """A stored row without sentinels."""
    key = {"period_start": row["period_start"]}
    for each in subject.dimensions:
        key |= said_of(each, row[each.column])
    return key | {name: row[name] for name in measures}


def figures_of(row: Row, subject: Subject, sources: Sources) -> RangeFigures:
    """The figures in a row of sums; nothing was counted where the sums are NULL."""
    figures = {each.name: row[each.name] for each in subject.measures}
    figures |= {name: row[name] or 0 for name in subject.count_columns}
    # After a removal, or before cells of an older definition are computed anew, some histograms are missing.
    estimated = bool(sources.histograms) and (row["told_executions"] or 0) == figures[subject.timed]
    if not sources.exact:
        figures |= dict.fromkeys(each.name for each in subject.measures if each.kind is Kind.PERCENTILE)
    if estimated and figures[subject.timed]:
        figures |= _estimates(row, subject)
    error = 0.0 if sources.exact else RELATIVE_ERROR if estimated else None
    return RangeFigures(figures, estimated, error, row["which"], row.get("name"))


def _estimates(row: Row, subject: Subject) -> Mapping[str, float]:
    """Each percentile between the middles of the two buckets around it, and never beyond the extremes."""
    found = {}
    least, most = row[subject.column(Kind.MINIMUM)], row[subject.column(Kind.MAXIMUM)]
    shares = subject.percentiles().items()
    for (name, share), low, high in zip(shares, row["low"], row["high"], strict=True):
        rank = share * (row[subject.timed] - 1)
        between = middle_ms(low) + (rank - int(rank)) * (middle_ms(high) - middle_ms(low))
        found[name] = min(max(between, least), most)
    return found
