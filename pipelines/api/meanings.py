"""What each figure means, from the comments that the database itself has."""

from typing import Final

from pydantic import Field

from pipelines.api.answer import Answer
from pipelines.postgres.tables import aggregate_metrics
from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    UNKNOWN_INITIATOR,
)
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import GroupingSet, Period, RollupPlan

_UNITS: Final = {"_executions": "jobs", "_pct": "percent", "_ms": "milliseconds"}

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
                name=name,
                meaning=str(aggregate_metrics.c[name].comment),
                unit=next(unit for ending, unit in _UNITS.items() if name.endswith(ending)),
                can_be_added_up=name in JOBS.additive_columns,
            )
            for name in JOBS.measure_columns
        ),
        sentinels=tuple(
            SentinelAnswer(column=column, value=value, meaning=meaning)
            for column, value, meaning in _SENTINELS
        ),
        periods=tuple(
            PeriodAnswer(
                name=period,
                meaning=meaning,
                broken_down_by=tuple(_dimensions(mask) for mask in plan[period]),
            )
            for period, meaning in _PERIODS.items()
        ),
    )


def _dimensions(chosen: GroupingSet) -> tuple[str, ...]:
    return tuple(name for name in JOBS.dimension_columns if name in chosen)
