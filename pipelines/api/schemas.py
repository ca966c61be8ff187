"""What a request is answered with, field by field; the figures are those that the jobs declare."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipelines.postgres.tables import aggregate_metrics
from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    UNKNOWN_INITIATOR,
)
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import Kind, Measure
from pipelines.subjects.rollup import Period, RollupPlan

_WORKFLOW: Final = "The workflow; null for all together."
_CLIENT: Final = "The client; null for all together, and for jobs without one."
_NO_CLIENT: Final = "Whether these are the jobs without a client."
_INITIATOR: Final = "What started the jobs; null for all together."
_NAME: Final = "What it is called; null when the source does not say."

_SENTINELS: Final = (
    ("workflow_id", str(ALL_WORKFLOWS), "All workflows together."),
    ("client_id", str(ALL_CLIENTS), "All clients together."),
    ("client_id", str(NO_CLIENT), "The jobs without a client."),
    ("initiator_type", ALL_INITIATORS, "All initiator types together."),
    ("initiator_type", UNKNOWN_INITIATOR, "The jobs that do not say what started them."),
)

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


def _number(measure: Measure) -> type[int] | type[float]:
    return int if measure.kind is Kind.COUNT else float


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
    """A part of what there is, as large as was asked for."""

    next: str | None = Field(description="The `after` of the page that follows; null on the last one.")


class _Key(Answer):
    """A stored row; a dimension that is not broken down is null, a figure not asked for is left out."""

    period_start: datetime = _stored("period_start")
    workflow_id: UUID | None = Field(description=_WORKFLOW)
    client_id: UUID | None = Field(description=_CLIENT)
    has_no_client: bool = Field(description=_NO_CLIENT)
    initiator_type: str | None = Field(description=_INITIATOR)


_stored_figures: dict[str, Any] = {
    each.name: (_number(each) | None, Field(description=each.comment, default=None)) for each in JOBS.measures
}
MetricAnswer = create_model("MetricAnswer", __base__=_Key, __doc__=_Key.__doc__, **_stored_figures)


class MetricsAnswer(Page):
    """Stored rows of one period, in the order of their keys."""

    period: Period = _stored("period")
    measures: tuple[str, ...] = Field(description="The figures that each row has.")
    rows: tuple[MetricAnswer, ...]  # type: ignore[valid-type]

    def columns(self) -> Sequence[str]:
        """The key of a row, and its figures."""
        return [*_Key.model_fields, *self.measures]

    def lines(self) -> Sequence[BaseModel]:
        """The rows."""
        return self.rows


# Sums of durations are stored to be added up, not told.
TOLD: Final = tuple(each for each in JOBS.measures if each.kind is not Kind.SUM)

_told_figures: dict[str, Any] = {
    each.name: (
        int if each.kind is Kind.COUNT else float | None,
        Field(description=_OF_A_RANGE.get(each.name, each.comment)),
    )
    for each in TOLD
}
_how_exact: dict[str, Any] = {
    "estimated": (
        bool,
        Field(description="Whether median, p90, p95 and p99 are estimates: no, for one bucket."),
    ),
    "relative_error": (
        float | None,
        Field(
            description="How far median, p90, p95 and p99 are off at most, as a share: 0 when exact. Null"
            " when they are null although jobs are timed, because nothing that is kept tells them: no"
            " histograms are kept of a workflow, a client and an initiator type together, so only one week or"
            " month has them."
        ),
    ),
}


def _with_figures(name: str, base: type[Answer]) -> type[Answer]:
    """A model with the fields of another, and how the jobs of a range ended and how long they took."""
    return create_model(name, __base__=base, __doc__=base.__doc__, **_told_figures, **_how_exact)


class _OfSummary(Answer):
    """A range as a whole, or one workflow, client and initiator type of it."""

    since: datetime
    until: datetime
    workflow_id: UUID | None = Field(description=_WORKFLOW)
    client_id: UUID | None = Field(description=_CLIENT)
    has_no_client: bool = Field(description=_NO_CLIENT)
    initiator_type: str | None = Field(description=_INITIATOR)


class _OfWorkflow(Answer):
    """One workflow over a range."""

    workflow_id: UUID
    name: str | None = Field(description=_NAME)


class _OfClient(Answer):
    """One client over a range, or the jobs without one."""

    client_id: UUID | None = Field(description="The client; null for the jobs without one.")
    has_no_client: bool = Field(description=_NO_CLIENT)
    name: str | None = Field(description=_NAME)


class _OfInitiator(Answer):
    """What one initiator type started over a range."""

    initiator_type: str = Field(description="What started the jobs; `unknown` where they do not say.")


SummaryAnswer = _with_figures("SummaryAnswer", _OfSummary)


class Breakdown(Page):
    """A page of rows over a range, in the field that comes last."""

    since: datetime
    until: datetime

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


def _breakdown(name: str, field: str, row: type[Answer], meaning: str) -> type[Breakdown]:
    fields: dict[str, Any] = {field: (tuple[row, ...], ...)}  # type: ignore[valid-type]
    return create_model(name, __base__=Breakdown, __doc__=meaning, **fields)


_LONGEST_FIRST: Final = "in use, those that take longest on average first, idle ones last."

WorkflowsAnswer = _breakdown(
    "WorkflowsAnswer",
    "workflows",
    _with_figures("WorkflowAnswer", _OfWorkflow),
    f"The workflows {_LONGEST_FIRST}",
)
ClientsAnswer = _breakdown(
    "ClientsAnswer", "clients", _with_figures("ClientAnswer", _OfClient), f"The clients {_LONGEST_FIRST}"
)
InitiatorsAnswer = _breakdown(
    "InitiatorsAnswer",
    "initiators",
    _with_figures("InitiatorAnswer", _OfInitiator),
    "The initiator types that started jobs, those whose jobs take longest on average first.",
)


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
    return DefinitionsAnswer(
        measures=tuple(
            MeasureAnswer(
                name=each.name,
                meaning=each.comment,
                unit=each.unit or f"{JOBS.row}s",
                can_be_added_up=each.is_additive,
            )
            for each in JOBS.measures
        ),
        sentinels=tuple(
            SentinelAnswer(column=column, value=value, meaning=meaning)
            for column, value, meaning in _SENTINELS
        ),
        periods=tuple(
            PeriodAnswer(
                name=period,
                meaning=meaning,
                broken_down_by=tuple(
                    tuple(name for name in JOBS.dimension_columns if name in chosen)
                    for chosen in plan[period]
                ),
            )
            for period, meaning in _PERIODS.items()
        ),
    )
