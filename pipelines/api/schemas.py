"""What a request is answered with, field by field; the figures are those that the jobs declare."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipelines.postgres.tables import aggregate_metrics
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import Kind
from pipelines.subjects.rollup import Period, RollupPlan

_PERIODS: Final = {
    Period.HOUR: "An hour in UTC.",
    Period.DAY: "A day in the organization's time zone.",
    Period.WEEK: "A week of ISO 8601, from Monday on, in the organization's time zone.",
    Period.MONTH: "A month in the organization's time zone.",
}

# Over a range, these are said in other words than of a stored row.
_OF_A_RANGE: Final = {
    JOBS.total: "Jobs that completed in the range.",
    **{
        each.name: "100 x completed / total; null without jobs."
        for each in JOBS.measures
        if each.kind is Kind.RATE
    },
}


def _stored(column: str) -> Any:
    """A field that means what the column of that name does."""
    return Field(description=aggregate_metrics.c[column].comment)


class Answer(BaseModel):
    """An answer that is one line of a table, unless it says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def columns(self) -> Sequence[str]:
        """What the columns of its table are called."""
        return list(type(self).model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The lines of its table."""
        return (self,)


class Page(Answer):
    """A part of what there is, as large as was asked for; its rows are in the field that comes last."""

    next: str | None = Field(description="The `after` of the page that follows; null on the last one.")

    def columns(self) -> Sequence[str]:
        """Of what a row is, and its figures."""
        return list(self.row().model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The rows."""
        found: Sequence[BaseModel] = getattr(self, self.rows_field())
        return found

    @classmethod
    def rows_field(cls) -> str:
        """The name of the field that has the rows."""
        return list(cls.model_fields)[-1]

    @classmethod
    def row(cls) -> type[Answer]:
        """The model of a row."""
        model: type[Answer] = cls.model_fields[cls.rows_field()].annotation.__args__[0]  # type: ignore[union-attr]
        return model


def _field(type_: Any, description: str | None, **default: Any) -> tuple[Any, Any]:
    return type_, Field(description=description, **default)


def _said_of(dimension: Dimension) -> dict[str, Any]:
    """What an answer says of a dimension that all of them may share: the fields of `said_of`."""
    type_ = UUID if dimension.type == "uuid" else str
    none = ", and for jobs without one" if dimension.flag else ""
    fields = {
        dimension.column: _field(type_ | None, f"The {dimension.noun}; null for all together{none}."),
    }
    return fields | _flag_of(dimension)


def _flag_of(dimension: Dimension) -> dict[str, Any]:
    if not dimension.flag:
        return {}
    return {dimension.flag: _field(bool, f"Whether these are the jobs without a {dimension.noun}.")}


_KEY: Final[dict[str, Any]] = {
    "period_start": (datetime, _stored("period_start")),
    **{name: field for each in JOBS.dimensions for name, field in _said_of(each).items()},
}
_stored_figures: dict[str, Any] = {
    each.name: _field((int if each.kind is Kind.COUNT else float) | None, each.comment, default=None)
    for each in JOBS.measures
}
MetricAnswer = create_model(
    "MetricAnswer",
    __base__=Answer,
    __doc__="A stored row; a dimension that is not broken down is null, a figure not asked for is left out.",
    **_KEY,
    **_stored_figures,
)


class MetricsAnswer(Page):
    """Stored rows of one period, in the order of their keys."""

    period: Period = _stored("period")
    measures: tuple[str, ...] = Field(description="The figures that each row has.")
    rows: tuple[MetricAnswer, ...]  # type: ignore[valid-type]

    def columns(self) -> Sequence[str]:
        """The key of a row, and its figures."""
        return [*_KEY, *self.measures]


# Sums of durations are stored to be added up, not told.
TOLD: Final = tuple(each for each in JOBS.measures if each.kind is not Kind.SUM)

_range_figures: dict[str, Any] = {
    each.name: _field(
        int if each.kind is Kind.COUNT else float | None, _OF_A_RANGE.get(each.name, each.comment)
    )
    for each in TOLD
} | {
    "estimated": _field(bool, "Whether median, p90, p95 and p99 are estimates: no, for one bucket."),
    "relative_error": _field(
        float | None,
        "How far median, p90, p95 and p99 are off at most, as a share: 0 when exact. Null when they are null"
        " although jobs are timed, because nothing that is kept tells them: no histograms are kept of a"
        " workflow, a client and an initiator type together, so only one week or month has them.",
    ),
}

_dimensions: dict[str, Any] = {name: field for name, field in _KEY.items() if name != "period_start"}
SummaryAnswer: type[Answer] = create_model(
    "SummaryAnswer",
    __base__=Answer,
    __doc__="A range as a whole, or one workflow, client and initiator type of it.",
    since=(datetime, ...),
    until=(datetime, ...),
    **_dimensions,
    **_range_figures,
)


class Breakdown(Page):
    """A page of rows over a range."""

    since: datetime
    until: datetime


def _one_of(dimension: Dimension) -> type[Answer]:
    """The model of one value of a dimension over a range."""
    is_id = dimension.type == "uuid"
    without = f"; {'null' if dimension.flag else f'`{dimension.none}`'} for the jobs without one"
    described = f"The {dimension.noun}{without if dimension.none is not None else ''}."
    type_: Any = UUID if is_id else str
    fields: dict[str, Any] = {dimension.column: _field(type_ | None if dimension.flag else type_, described)}
    fields |= _flag_of(dimension)
    if is_id:
        fields["name"] = _field(str | None, "What it is called; null when the source does not say.")
    doc = f"One {dimension.noun} over a range{', or the jobs without one' if dimension.flag else ''}."
    name = f"{dimension.short.title()}Answer"
    return create_model(name, __base__=Answer, __doc__=doc, **(fields | _range_figures))


def _breakdown(dimension: Dimension) -> type[Breakdown]:
    """The model of a page of the values of a dimension."""
    which, last = "that started jobs in a range", ""
    if dimension.type == "uuid":
        without = ", and the jobs without one" if dimension.flag else ""
        which, last = f"in use over a range{without}", ", idle ones last"
    doc = f"Every {dimension.noun} {which}, those that take longest on average first{last}."
    row: Any = _one_of(dimension)
    fields: dict[str, Any] = {f"{dimension.short}s": (tuple[row, ...], ...)}
    return create_model(f"{dimension.short.title()}sAnswer", __base__=Breakdown, __doc__=doc, **fields)


BREAKDOWNS: Final = {each.column: _breakdown(each) for each in JOBS.dimensions}


class CompletenessAnswer(Answer):
    """Through when the metrics are complete."""

    organization_name: str | None = Field(
        description="What the organization is called; null when the source does not say."
    )
    complete_through: datetime = Field(description="Every job that completed before is in the metrics.")
    extracted_at: datetime = Field(description="When the source was last read, by its own clock.")
    published_at: datetime = Field(description="When the metrics were last published.")
    published_version: int = Field(description="The version of the facts that they agree with.")
    edition: int = Field(description="How often a repair, a rebuild or retention changed them since.")
    verified_at: datetime | None = Field(description="When they were last compared with the source.")
    time_zone: str = Field(description="Where days, weeks and months begin.")


class MeasureAnswer(Answer):
    """A figure."""

    name: str
    meaning: str
    unit: str
    can_be_added_up: bool = Field(
        description="Whether the figures of rows of one period and of the same dimensions may be added up."
    )


class SentinelAnswer(Answer):
    """A value of the tables that stands for something else; here, nulls and words stand for it."""

    column: str
    value: str
    meaning: str


class PeriodAnswer(Answer):
    """How long a bucket is, and by what its rows are broken down: each list together."""

    name: Period
    meaning: str
    broken_down_by: tuple[tuple[str, ...], ...]


class DefinitionsAnswer(Answer):
    """What everything means."""

    measures: tuple[MeasureAnswer, ...]
    sentinels: tuple[SentinelAnswer, ...]
    periods: tuple[PeriodAnswer, ...]


def defined(plan: RollupPlan) -> DefinitionsAnswer:
    """The definitions under a rollup plan."""
    rows = f"{JOBS.row}s"
    measures = (
        MeasureAnswer(
            name=each.name, meaning=each.comment, unit=each.unit or rows, can_be_added_up=each.is_additive
        )
        for each in JOBS.measures
    )
    sentinels = (
        SentinelAnswer(column=each.column, value=str(value), meaning=meaning)
        for each in JOBS.dimensions
        for value, meaning in (
            (each.every, f"All {each.noun}s together."),
            (each.none, f"The {rows} without {'an' if each.noun[0] in 'aeiou' else 'a'} {each.noun}."),
        )
        if value is not None
    )
    periods = (
        PeriodAnswer(
            name=period,
            meaning=meaning,
            broken_down_by=tuple(
                tuple(name for name in JOBS.dimension_columns if name in chosen) for chosen in plan[period]
            ),
        )
        for period, meaning in _PERIODS.items()
    )
    return DefinitionsAnswer(measures=tuple(measures), sentinels=tuple(sentinels), periods=tuple(periods))
