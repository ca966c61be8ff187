"""Statements about the cells of a subject: their places are filled from what the subject declares."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final
from uuid import UUID

from pipelines.postgres.schemas import ANALYTICS
from pipelines.postgres.statements import body, fill, render
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.measures import TIMED, Kind, Measure
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import WITH_HISTOGRAM, Subject

# In the order in which changes of cells are looked at: how many rows, how they ended, how long they took.
_CHANGES: Final = (Kind.COUNT, Kind.PERCENTILE)


@cache
def subject_statement(name: str, subject: Subject, staged: str = "staged_cells") -> str:
    """A statement such as `publish/upsert` for one subject; `staged` is what its staging table is called."""
    key, measures, values = subject.key_columns, subject.measure_columns, subject.value_columns
    broken_down = [each.column for each in subject.dimensions if each.every != ""]
    return render(
        name,
        {
            "table": f"{ANALYTICS}.{subject.table}",
            "staged": f"{staged}_of_{subject.name}",
            "total": subject.total,
            "key": _listed(key),
            "stored_key": _listed(key, "stored"),
            "staged_key": _listed(key, "staged"),
            "values": _listed(values),
            "measures": _listed(measures),
            "same_cell": " AND ".join(f"staged.{name} = stored.{name}" for name in key),
            "one_cell": " AND ".join(f"{name} = %({name})s" for name in subject.dimension_columns),
            "cell": _object(subject.dimension_columns, "staged"),
            "old": _object(measures, "stored"),
            "new": _object(measures, "staged"),
            "set_values": ", ".join(f"{name} = excluded.{name}" for name in values),
            "counts_once": " AND ".join(f"{name} = %(every_{name})s" for name in broken_down) or "true",
            "by_change": ", ".join(
                f"abs(coalesce(staged.{each.name}, 0) - coalesce(stored.{each.name}, 0)) DESC"
                for kind in _CHANGES
                for each in subject.measures
                if each.kind is kind
            ),
            "sums": ", ".join(f"sum({name}) AS {name}" for name in subject.count_columns),
            "counts": _listed(subject.count_columns),
            "broken_down_by": " || ".join(
                f"CASE WHEN {each.column} = %(every_{each.column})s THEN '' ELSE '{each.column}' END"
                for each in subject.dimensions
            ),
        }
        | {f"{row}_measures": _listed(measures, row) for row in ("stored", "staged", "excluded")}
        | {f"{row}_values": _listed(values, row) for row in ("stored", "excluded")},
    )


def every_values(subject: Subject) -> Mapping[str, UUID | str]:
    """What statements take: for each dimension the value that means all of it, as `every_<column>`."""
    return {f"every_{each.column}": each.every for each in subject.dimensions if each.every != ""}


def figures_in(stored: Mapping[str, Any] | None, subject: Subject) -> dict[str, float | None] | None:
    """The measures in a JSON object, which does not tell whole numbers from others."""
    if stored is None:
        return None
    kept = {name: stored[name] for name in subject.measure_columns if name in stored}
    whole = subject.count_columns
    return {name: value if name in whole or value is None else float(value) for name, value in kept.items()}


@cache
def figures_statement(name: str, subject: Subject, by: str = "", longest: Kind = Kind.MEAN) -> str:
    """A statement of `tenant_metrics`: of each value of the dimension `by`, the longest first."""
    columns = subject.dimension_columns
    chosen = [_chosen(each) for each in subject.dimensions if each.every != ""]
    places = {
        "table": f"{ANALYTICS}.{subject.table}",
        "total": subject.total,
        "timed": subject.timed,
        "minimum": subject.column(Kind.MINIMUM),
        "maximum": subject.column(Kind.MAXIMUM),
        "dimensions": _listed(columns),
        "stored_dimensions": _listed(columns, "stored"),
        "same_dimensions": " AND ".join(f"keys.{name} = sums.{name}" for name in columns),
        "chosen": " AND ".join(chosen),
        "after": ", ".join(f"%(after_{each.column})s::{each.type}" for each in subject.dimensions),
        "measures": _listed(subject.measure_columns),
        "figures": ", ".join(f"{_summed(each, subject)} AS {each.name}" for each in subject.measures),
        "by": by,
        "which": f"figures.{by}" if by else "NULL",
        "by_entities": f"{ANALYTICS}.{subject.dimension(by).short}s" if by else "",
        "longest": subject.column(longest),
    }
    known = body("tenant_metrics/is_known")
    places["visible"] = ", ".join(
        fill(known, {"column": each.column, "short": each.short})
        for each in subject.dimensions
        if each.type == "uuid"
    )
    for spans in ("", "histogram_"):
        places[f"in_{spans}spans"] = fill(body("tenant_metrics/in_spans"), {"spans": spans})
    places["summed"] = fill(body("tenant_metrics/summed"), places)
    return render(name, places)


def _chosen(dimension: Dimension) -> str:
    column, value = dimension.column, f"%({dimension.column})s"
    return (
        f"CASE WHEN {value}::{dimension.type} IS NULL THEN {column} <> %(every_{column})s"
        f" ELSE {column} = {value} END"
    )


def _summed(measure: Measure, subject: Subject) -> str:
    match measure.kind:
        case Kind.COUNT:
            return f"sum(stored.{measure.name})::bigint"
        case Kind.SUM:
            return f"sum(stored.{measure.name})"
        case Kind.RATE:
            counts = {each.among: each.name for each in subject.measures if each.kind is Kind.COUNT}
            return f"100 * sum(stored.{counts[measure.among]})::float8 / sum(stored.{subject.total})::float8"
        case Kind.MEAN:
            timed = f"nullif(sum(stored.{subject.timed}), 0)::float8"
            return f"sum(stored.{subject.column(Kind.SUM)}) / {timed}"
        case Kind.MAXIMUM:
            return f"max(stored.{measure.name})"
    # A percentile is that of a single cell, or not told.
    return f"min(stored.{measure.name})"


def oracle_statement(subject: Subject, plan: RollupPlan, counted: str | None = None) -> str:
    """The statement of `verify` that says what each cell of a plan should be.

    The rules of what counts are written by hand, in `counted` or in `verify/counted_<subject>`; the
    projection is rendered from the subject.
    """
    columns = subject.dimension_columns
    sets = [
        ["organization_id", f"{period}_start", *(name for name in columns if name in chosen)]
        for period, chosen_sets in plan.items()
        for chosen in chosen_sets
    ]
    among = sorted({each.among for each in subject.measures if each.share is not None}, key=str)
    aggregates = [
        *(f"{_expected(each)} AS {each.name}" for each in subject.measures if each.share is None),
        *(
            f"percentile_cont(ARRAY{list(subject.percentiles(outcome).values())})"
            f" WITHIN GROUP (ORDER BY duration_ms::double precision){_filter(outcome)} AS {_shares(outcome)}"
            for outcome in among
        ),
    ]
    projection = [*columns, *(_projected(each, subject) for each in subject.measures)]
    if subject.duration:
        periods = " OR ".join(f"grouping({period}_start) = 0" for period in WITH_HISTOGRAM)
        aggregates.append(
            f"CASE WHEN {periods} THEN array_agg(duration_bucket ORDER BY duration_bucket)"
            " FILTER (WHERE duration_bucket IS NOT NULL) END AS duration_buckets"
        )
        stored = ", ".join(f"'{period}'" for period in WITH_HISTOGRAM)
        projection.append(
            f"CASE WHEN period IN ({stored}) AND {subject.timed} > 2 THEN duration_buckets END"
            " AS duration_buckets"
        )
    dimensions = [
        f"CASE WHEN grouping({each.column}) = 1 THEN '{each.every}' ELSE {each.column} END AS {each.column}"
        if each.every != ""
        else each.column
        for each in subject.dimensions
    ]
    return render(
        "verify/expected",
        {
            "counted": counted or body(f"verify/counted_{subject.name}"),
            "grouping_sets": ", ".join(f"({', '.join(each)})" for each in sets),
            "dimensions": ", ".join(dimensions),
            "aggregates": ", ".join(aggregates),
            "projection": ", ".join(projection),
        },
    )


def _expected(measure: Measure) -> str:
    rows = _filter(measure.among)
    match measure.kind:
        case Kind.COUNT if measure.among == TIMED:
            return "count(duration_ms)"
        case Kind.COUNT:
            return f"count(*){rows}"
        case Kind.RATE:
            return f"100.0 * count(*){rows} / count(*)"
        case Kind.SUM:
            return f"coalesce(sum(duration_ms){rows}, 0)"
    function = {Kind.MEAN: "avg", Kind.MINIMUM: "min", Kind.MAXIMUM: "max"}[measure.kind]
    return f"{function}(duration_ms){rows}"


def _projected(measure: Measure, subject: Subject) -> str:
    if measure.kind is Kind.COUNT:
        return measure.name
    if measure.share is None:
        return f"{measure.name}::double precision AS {measure.name}"
    place = list(subject.percentiles(measure.among)).index(measure.name)
    return f"{_shares(measure.among)}[{place + 1}] AS {measure.name}"


def _filter(among: str | None) -> str:
    return f" FILTER (WHERE {among})" if among else ""


def _shares(among: str | None) -> str:
    return f"percentiles_of_{among or 'timed'}"


def _listed(names: Iterable[str], row: str = "") -> str:
    return ", ".join(f"{row}.{name}" if row else name for name in names)


def _object(names: Iterable[str], row: str) -> str:
    return ", ".join(f"'{name}', {row}.{name}" for name in names)
