"""What may be asked with a request, parameter by parameter; anything else is refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from pipelines.calendars.moments import MOMENT, DayOrTime, instant_of, read_moment
from pipelines.errors import ParameterRepeated
from pipelines.query.metrics import Place
from pipelines.query.records import EACH, MetricRow, stored_value
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS, Dimension
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period

# Whatever bucket a moment of these years is in, its start and its end have a date.
_YEARS: Final = range(2, 9998)


def moment(text: Any) -> DayOrTime:
    """Read a date, or an RFC 3339 time with or without its offset; raises ValueError."""
    found = read_moment(str(text))
    if found is None or found.year not in _YEARS:
        raise ValueError("Input is neither a date nor an RFC 3339 time, in which a + is written as %2B")
    return found


_LOCAL_TIME: Final = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"

# Nothing is left for pydantic to check, which would make a date of a time or a time of a date.
Moment = Annotated[
    Any,
    BeforeValidator(moment),
    WithJsonSchema(
        {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}, {"pattern": _LOCAL_TIME}]}
    ),
]


def each_once(request: Request) -> None:
    """Refuse two values for one parameter: programs disagree about which of them counts."""
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) > len(set(given)):
        raise ParameterRepeated


_LONGEST_TEXT: Final = 200
_NONE: Final = "none"


def text_of(dimension: Dimension, value: UUID | str) -> str:
    """How a query names a value of a dimension."""
    return _NONE if dimension.flag and value == dimension.none else str(value)


def _reading(dimension: Dimension, *, each: bool = False) -> Any:
    """The type of a parameter for a value of a dimension, `none` for rows without one, or for `each`."""
    is_id = dimension.type == "uuid"
    words: dict[str, Any] = {EACH.value: EACH} if each else {}
    if dimension.flag:
        words[_NONE] = dimension.none
    named = f"the id of a {dimension.short}" if is_id else f"an {dimension.noun}"
    meant = f"neither {' nor '.join([*words, named])}" if words else f"not {named}"
    schema: dict[str, Any] = {"format": "uuid"}
    if not is_id:
        schema = {"minLength": 1, "maxLength": _LONGEST_TEXT}
    elif words:
        choice = {"enum": list(words)} if len(words) > 1 else {"const": next(iter(words))}
        schema = {"anyOf": [choice, schema]}

    # What stands for something else in the tables, or here.
    reserved = RESERVED_IDS if is_id else (*RESERVED_INITIATORS, EACH.value)

    def read(value: Any) -> Any:
        text = str(value)
        if text in words:
            return words[text]
        with suppress(ValueError):
            found = UUID(text) if is_id else text
            if found not in reserved and (is_id or (0 < len(text) <= _LONGEST_TEXT and "\0" not in text)):
                return found
        raise ValueError(f"Input is {meant}")

    return Annotated[Any, BeforeValidator(read), WithJsonSchema({"type": "string", **schema})]


def _measures(value: Any) -> tuple[str, ...]:
    """Each measure once, in the order of the table; those it does not have come behind."""
    # The framework takes a parameter that may be many values for one that is given many times.
    asked = {name for given in value for name in str(given).split(",")}
    known = JOBS.measure_columns
    return (*(name for name in known if name in asked), *sorted(asked - set(known)))


_A_MEASURE: Final = f"({'|'.join(JOBS.measure_columns)})"

Measures = Annotated[
    tuple[str, ...],
    BeforeValidator(_measures),
    WithJsonSchema({"type": "string", "pattern": f"^{_A_MEASURE}(,{_A_MEASURE})*$"}),
]


def after(row: MetricRow) -> str:
    """The text for the place of a row."""
    key = row["period_start"].isoformat(), *(str(stored_value(each, row)) for each in JOBS.dimensions)
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def place(text: Any) -> Place:
    """Read what `after` wrote; raises ValueError."""
    try:
        padded = str(text) + "=" * (-len(str(text)) % 4)
        start, *values = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        begun = instant_of(moment(start))
        if begun is None:
            raise ValueError
        return begun, *(_placed(*each) for each in zip(JOBS.dimensions, values, strict=True))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("Input is not the `next` of an earlier answer") from None


def _placed(dimension: Dimension, value: str) -> UUID | str:
    if dimension.type == "uuid":
        return UUID(value)
    if "\0" in value or not value.encode():
        raise ValueError
    return value


After = Annotated[
    Any,
    BeforeValidator(place),
    WithJsonSchema({"type": "string", "description": "The `next` of the answer before this one."}),
]


# A page that a browser still draws at once.
MOST_ROWS: Final = 1_000
_ROWS: Final = 500

_AFTER: Final = "The `next` of the page before this one."


class Query(BaseModel):
    """Nothing may be asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FormQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] | None = Field(
        None, description="How the answer is written; without it, the header `Accept` decides."
    )


class RangeQuery(FormQuery):
    """A range."""

    since: Moment = Field(
        description=f"From then on, in RFC 3339: {MOMENT}. `2026-06-01` is the organization's own midnight."
    )
    until: Moment = Field(
        description="Before then, written likewise: `since=2026-06-01&until=2026-07-01` is the whole of June."
    )


class PageQuery(RangeQuery):
    """A page of what is in use over a range."""

    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="How many at most.")


def _only(dimension: Dimension) -> tuple[Any, Any]:
    or_none = f", or `{_NONE}` for the jobs without one" if dimension.flag else ""
    return _reading(dimension) | None, Field(None, description=f"Only this {dimension.noun}{or_none}.")


def _any_of(dimension: Dimension) -> tuple[Any, Any]:
    article = "An" if dimension.noun[0] in "aeiou" else "A"
    or_none = f", `{_NONE}` for the jobs without one," if dimension.flag else ""
    described = (
        f"{article} {dimension.noun}{or_none} or `{EACH.value}` for a row each; without it, all"
        f" {dimension.noun}s together."
    )
    return _reading(dimension, each=True) | None, Field(None, description=described)


def _page_of(dimension: Dimension) -> type[PageQuery]:
    fields: dict[str, Any] = {each.short: _only(each) for each in JOBS.dimensions if each is not dimension}
    # Whatever the source calls one.
    after = _reading(dimension) if dimension.type == "uuid" else str
    fields["after"] = after | None, Field(None, description=_AFTER)
    name, doc = f"{dimension.short.title()}sQuery", f"A page of {dimension.noun}s."
    return create_model(name, __base__=PageQuery, __doc__=doc, **fields)


_each_alone: dict[str, Any] = {each.short: _only(each) for each in JOBS.dimensions}
SummaryQuery = create_model(
    "SummaryQuery",
    __base__=RangeQuery,
    __doc__="A range, of everything or of one value of some dimensions.",
    **_each_alone,
)

BREAKDOWN_QUERIES: Final = {each.column: _page_of(each) for each in JOBS.dimensions}


class _OfRows(RangeQuery):
    """Stored rows: of which period, broken down by what, and which of their figures."""

    period: Period = Field(description="How long the buckets are.")
    measures: Measures = Field(
        JOBS.measure_columns, description="Which figures, by commas; without it, every one."
    )
    limit: int = Field(_ROWS, ge=1, le=MOST_ROWS, description="How many rows at most.")
    after: After | None = Field(None, description=_AFTER)


_each_or_all: dict[str, Any] = {each.short: _any_of(each) for each in JOBS.dimensions}
MetricsQuery = create_model("MetricsQuery", __base__=_OfRows, __doc__=_OfRows.__doc__, **_each_or_all)
