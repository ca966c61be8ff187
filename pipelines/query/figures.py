"""From a row of sums to what a tenant is told, and from buckets of durations to percentiles."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.query.cover import Span
from pipelines.query.records import MetricRow, RangeFigures
from pipelines.query.tenant import Row
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT
from pipelines.subjects.histogram import RELATIVE_ERROR, middle_ms
from pipelines.subjects.measures import Kind
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject


@dataclass(frozen=True)
class Sources:
    """What a range is added up from: the spans of cells, and those whose histograms tell the percentiles.

    One bucket has its percentiles itself (`exact`) and needs no histogram; without either nothing tells them.
    """

    spans: Sequence[Span]
    exact: bool = False
    histograms: Sequence[Span] = ()

    @property
    def values(self) -> Mapping[str, object]:
        """The same for a statement."""
        return {
            "periods": [span.period.value for span in self.spans],
            "since": [span.since for span in self.spans],
            "until": [span.until for span in self.spans],
            "histogram_periods": [span.period.value for span in self.histograms],
            "histogram_since": [span.since for span in self.histograms],
            "histogram_until": [span.until for span in self.histograms],
        }


def figures_of(row: Row, subject: Subject, sources: Sources) -> RangeFigures:
    """What is told of a row of sums; nothing was counted where the sums are NULL."""
    told = {each.name: row[each.name] for each in subject.measures}
    told |= {name: row[name] or 0 for name in subject.count_columns}
    # After a removal, or before cells of an older definition are computed anew, some histograms are missing.
    estimated = bool(sources.histograms) and (row["told_executions"] or 0) == told[subject.timed]
    if not sources.exact:
        told |= dict.fromkeys(each.name for each in subject.measures if each.kind is Kind.PERCENTILE)
    if estimated and told[subject.timed]:
        told |= _estimates(row, subject)
    return RangeFigures(
        figures=told,
        estimated=estimated,
        relative_error=0.0 if sources.exact else RELATIVE_ERROR if estimated else None,
        which=row.get("which"),
        name=row.get("name"),
    )


def metric_of(row: Row, period: Period, measures: Collection[str]) -> MetricRow:
    """A stored row without sentinels."""
    client = row["client_id"]
    return MetricRow(
        period=period,
        period_start=row["period_start"],
        workflow_id=None if row["workflow_id"] == ALL_WORKFLOWS else row["workflow_id"],
        client_id=None if client in (ALL_CLIENTS, NO_CLIENT) else client,
        has_no_client=client == NO_CLIENT,
        initiator_type=None if row["initiator_type"] == ALL_INITIATORS else row["initiator_type"],
        figures={name: row[name] for name in measures},
    )


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
