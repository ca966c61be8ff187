"""What the stored cells say to every figure of an oracle that others computed, and where they cannot say."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.oracle import ALL

Path = tuple[str, ...]
Figures = dict[str, Any]

PERCENTILES = {f"{name}_ms": f"{name}_duration_ms" for name in ("median", "p90", "p95", "p99")}

# To how many digits each is rounded.
MEANS = {"mean_ms": 3, "mean_ms_rounded": 0}

_DURATIONS = """
    sum(total_duration_ms) AS total_duration_ms,
    min(min_duration_ms) AS min_duration_ms,
    max(max_duration_ms) AS max_duration_ms
"""
_NEGATIVE = """
    SELECT count(*) FROM analytics.job_anomalies
    WHERE reason = 'negative_duration' AND effect = 'not_timed'
"""


class Reason(str):
    """Why a figure of the oracle, or a group of figures, cannot be read from the aggregates."""


A_NAME = Reason("it names the oracle's own rules")
NOT_STORED = Reason("the table does not store it")
OTHER_STATUSES = Reason("about jobs of every status, and only finished ones are counted")
BY_STATUS = Reason("durations are not broken down by status")
BY_START = Reason("buckets are of completion, not of start")
WITH_NEGATIVES = Reason("negative durations are counted, not timed")
IN_MANY_CELLS = Reason("a percentile of jobs in several cells follows from none of them")
OF_OTHER_COLUMNS = Reason("about other columns of the collectors, or about jobs and their lines together")
SAME_OUTCOME = Reason("levels of the same outcome are counted together")


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every figure of an oracle with its path."""
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*path, str(key)))
    else:
        yield path, value


class Answers:
    """Every figure of an oracle by its path: those that agree, those that do not, those not answered.

    The stored figures are read by plain SQL on the aggregates, into groups as those of the oracle; a reason
    stands in place of a figure, or of a group, that cannot be read.
    """

    def __init__(self, stored: psycopg.Connection, oracle: Figures) -> None:
        self._stored = stored
        self.agreed: set[Path] = set()
        self.disagreed: list[str] = []
        self.unanswered: dict[Path, str] = {}
        self._compare((), oracle, self._whole(oracle))

    @property
    def reasons(self) -> Counter[str]:
        """How many figures are not answered, by reason."""
        return Counter(self.unanswered.values())

    def _compare(self, path: Path, theirs: Any, ours: Any) -> None:
        if isinstance(ours, Reason):
            self.unanswered |= {leaf: ours for leaf, _ in leaves(theirs, path)}
        elif isinstance(theirs, dict | list):
            for key, child in theirs.items() if isinstance(theirs, dict) else enumerate(theirs):
                self._compare((*path, str(key)), child, ours[key])
        elif ours == theirs:
            self.agreed.add(path)
        else:
            self.disagreed.append(f"{' / '.join(path)}: {ours} is stored, {theirs} was expected")

    def _whole(self, oracle: Figures) -> Figures:
        overall, unknown = self._sums({}), self._sums({"initiator_type": "unknown"})
        # Of jobs of other statuses the table tells nothing.
        all_finished = oracle["status_counts"].keys() <= {"COMPLETED", "FAILED"}
        unless = None if all_finished else OTHER_STATUSES
        statuses = {name: f"{name.lower()}_executions" for name in oracle["status_counts"]}
        anomalies = {
            "completed_at < started_at": self._one(_NEGATIVE),
            "completed_at missing": OTHER_STATUSES,
            "initiator_type missing": unknown["total_executions"] if all_finished else NOT_STORED,
        }
        tables = ("organizations", "workflows", "clients")
        return {
            "dataset": A_NAME,
            "rules": A_NAME,
            "deleted_jobs": NOT_STORED,
            "started_at_range": BY_START,
            "completed_at_range": OTHER_STATUSES,
            "jobs": unless or overall["total_executions"],
            "status_counts": {name: overall.get(column, OTHER_STATUSES) for name, column in statuses.items()},
            **{table: self._one(f"SELECT count(*) FROM analytics.{table}") for table in tables},
            "initiator_types": {
                name: unless or self._sums({"initiator_type": name or "unknown"})["total_executions"]
                for name in oracle["initiator_types"]
            },
            "anomalies": {name: anomalies.get(name, NOT_STORED) for name in oracle["anomalies"]},
            "published_checks": self._published_checks(oracle["published_checks"], overall),
            "steps": self._steps(oracle) if "steps" in oracle else None,
            "seed_rule": self._rankings(oracle["seed_rule"]) | self._seed_rule(oracle["seed_rule"], overall),
            "nonnegative": self._rankings(oracle["nonnegative"], only_timed=True),
        }

    def _published_checks(self, checks: list[Figures], overall: Figures) -> list[Figures]:
        """The publishers' own figures, where they count finished jobs."""
        theta = self._sums({"initiator_type": "THETA"})
        published = {
            "theta Pass jobs": theta["completed_executions"],
            "theta Failed jobs": theta["failed_executions"],
            "events named A_APPROVED": overall["completed_executions"],
            "events named A_DECLINED": overall["failed_executions"],
        }
        found = []
        for check in checks:
            ours = published.get(check["figure"], OF_OTHER_COLUMNS)
            others = dict.fromkeys(check, OF_OTHER_COLUMNS)
            found.append(others | {"published": ours, "computed": ours})
        return found

    def _steps(self, oracle: Figures) -> Figures:
        """Rows, levels and durations of steps; the oracle's own percentiles are of all months together."""
        steps, every = oracle["steps"], self._sums_of_step(None, {})
        levels = {}
        for level in steps["levels"]:
            outcome = {"WARN": "warned", "ERROR": "failed"}.get(level, "completed")
            shared = outcome == "completed" and "DEBUG" in steps["levels"]
            levels[level] = SAME_OUTCOME if shared else every[f"{outcome}_executions"]
        biggest = {"organization_id": oracle["seed_rule"]["organizations_top5"][0]["id"]}
        distinct = self._one("SELECT count(DISTINCT step_name) FROM analytics.aggregate_step_metrics")
        return {
            "rows": every["total_executions"],
            "distinct_steps": distinct,
            "levels": levels,
            "rows_without_job": NOT_STORED,
            "rows_per_job": NOT_STORED,
            "top10": [self._step(block, {}) for block in steps["top10"]],
            "biggest_organization_top5": [
                self._step(block, biggest) for block in steps["biggest_organization_top5"]
            ],
        }

    def _step(self, block: Figures, chosen: Figures) -> Figures:
        ours = self._sums_of_step(block["step_name"], chosen)
        negative = block["duration"].get("negative", 0)
        mean = Fraction(int(ours["total_duration_ms"]), int(ours["timed_executions"]) or 1)
        figures = {
            "n": ours["timed_executions"] + negative,
            "sum_ms": ours["total_duration_ms"],
            "min_ms": ours["min_duration_ms"],
            "max_ms": ours["max_duration_ms"],
            **{name: _rounded(mean, digits) for name, digits in MEANS.items()},
            **dict.fromkeys(PERCENTILES, IN_MANY_CELLS),
        }
        duration = {name: figures.get(name, NOT_STORED) for name in block["duration"]}
        if negative:
            duration |= {name: WITH_NEGATIVES for name in duration if name not in ("n", "max_ms")}
        rows, errors = ours["total_executions"], ours["failed_executions"]
        return {"step_name": ours["step_name"], "rows": rows, "errors": errors, "duration": duration}

    def _sums_of_step(self, step: str | None, chosen: Figures) -> Figures:
        """The months of a step, or of all steps, added up."""
        counts = ("total", "completed", "warned", "failed", "timed")
        return self._rows(
            f"""
            SELECT
                min(step_name) AS step_name,
                {", ".join(f"sum({each}_executions) AS {each}_executions" for each in counts)},
                {_DURATIONS}
            FROM analytics.aggregate_step_metrics
            WHERE
                period = 'month' AND workflow_id = %(all)s
                AND (%(step)s::text IS NULL OR step_name = %(step)s)
                AND (%(organization_id)s::uuid IS NULL OR organization_id = %(organization_id)s)
            """,
            {"all": ALL, "step": step, "organization_id": None} | chosen,
        )[0]

    def _rankings(self, figures: Figures, *, only_timed: bool = False) -> Figures:
        """All jobs, and the five organizations, workflows and clients with the most of them."""
        ours: Figures = {"overall": self._block({}, only_timed=only_timed)}
        for what in ("organization", "workflow", "client"):
            if f"{what}s_top5" in figures:
                ours[f"{what}s_top5"] = self._ranking(what, {}, only_timed=only_timed)
        return ours

    def _seed_rule(self, figures: Figures, overall: Figures) -> Figures:
        biggest = {"organization_id": figures["organizations_top5"][0]["id"]}
        initiators = {name: {"initiator_type": name or "unknown"} for name in figures["by_initiator_type"]}
        ours = {
            "workflows_of_biggest_organization_top5": self._ranking("workflow", biggest, only_timed=False),
            "by_initiator_type": {name: self._block(chosen) for name, chosen in initiators.items()},
            "busiest_day": [self._busiest_day(day) for day in figures["busiest_day"]],
        }
        for status in ("completed", "failed"):
            by_status = dict.fromkeys(figures[f"{status}_only_duration"], BY_STATUS)
            ours[f"{status}_only_duration"] = by_status | {"n": overall[f"{status}_executions"]}
        return ours

    def _ranking(self, what: str, within: Figures, *, only_timed: bool) -> list[Figures]:
        column = f"{what}_id"
        counted = "timed_executions" if only_timed else "total_executions"
        ours = self._rows(
            f"""
            SELECT ranked.id::text, named.name
            FROM (
                SELECT {column} AS id, sum({counted}) AS jobs
                FROM analytics.aggregate_metrics WHERE {_where("month", within, broken_down_by=column)}
                GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5
            ) AS ranked
            JOIN analytics.{what}s AS named USING (id)
            ORDER BY ranked.jobs DESC, ranked.id
            """,
            within,
        )
        return [row | self._block(within | {column: row["id"]}, only_timed=only_timed) for row in ours]

    def _busiest_day(self, day: Figures) -> Figures | Reason:
        if day["bucketed_by"] != "completed_at":
            return BY_START
        (busiest,) = self._rows(
            f"""
            SELECT period_start::date::text AS day, sum(total_executions) AS jobs
            FROM analytics.aggregate_metrics WHERE {_where("day", {})}
            GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1
            """
        )
        midnight = datetime.fromisoformat(day["day_utc"]).replace(tzinfo=UTC)
        hours = {hour: {"period_start": midnight + timedelta(hours=int(hour))} for hour in day["hours"]}
        return {
            "bucketed_by": A_NAME,
            "day_utc": busiest["day"],
            "jobs_on_day": busiest["jobs"],
            "all_day": self._block({"period_start": midnight}, period="day"),
            "hours": {hour: self._block(chosen, period="hour") for hour, chosen in hours.items()},
        }

    def _block(self, chosen: Figures, *, period: str | None = None, only_timed: bool = False) -> Figures:
        """Counts, rate and durations of one group of jobs, over all time or in one bucket."""
        sums, cells = self._sums(chosen, period or "month"), self._cells(period, chosen)
        total, timed = sums["total_executions"], sums["timed_executions"]
        unless = BY_STATUS if only_timed and total != timed else None
        rate = Fraction(100 * int(sums["completed_executions"]), int(total))
        with_negatives = WITH_NEGATIVES if total != timed and not only_timed else None
        mean = Fraction(sums["total_duration_ms"]) / int(timed)
        no_percentile = with_negatives or (None if len(cells) == 1 else IN_MANY_CELLS)
        return {
            "total": timed if only_timed else total,
            **{name: unless or sums[f"{name}_executions"] for name in ("completed", "failed")},
            "success_rate_pct": unless or _rounded(rate, 2),
            "duration": {
                "n": timed if only_timed else total,
                "negative": 0 if only_timed else total - timed,
                "p95_disc_ms": NOT_STORED,
                "zero": 0 if sums["min_duration_ms"] > 0 else NOT_STORED,
                # A negative duration is never the longest.
                "max_ms": sums["max_duration_ms"],
                "sum_ms": with_negatives or sums["total_duration_ms"],
                "min_ms": with_negatives or sums["min_duration_ms"],
                **{name: with_negatives or _rounded(mean, digits) for name, digits in MEANS.items()},
                **{name: no_percentile or _close_to(cells[0][of]) for name, of in PERCENTILES.items()},
            },
        }

    def _cells(self, period: str | None, chosen: Figures) -> list[Figures]:
        """The one cell that holds every job of the group, if there is one, or else several."""
        for candidate in [period] if period else ["month", "week", "day", "hour"]:
            where = _where(candidate, chosen)
            rows = self._rows(f"SELECT * FROM analytics.aggregate_metrics WHERE {where} LIMIT 2", chosen)
            if len(rows) == 1:
                break
        return rows

    def _sums(self, chosen: Figures, period: str = "month") -> Figures:
        counts = ("total", "completed", "failed", "timed")
        return self._rows(
            f"""
            SELECT
                {", ".join(f"coalesce(sum({each}_executions), 0) AS {each}_executions" for each in counts)},
                {_DURATIONS}
            FROM analytics.aggregate_metrics WHERE {_where(period, chosen)}
            """,
            chosen,
        )[0]

    def _one(self, statement: str) -> int:
        row = self._stored.execute(statement).fetchone()
        return 0 if row is None else row[0]

    def _rows(self, statement: str, values: Figures | None = None) -> list[Figures]:
        with self._stored.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def _where(period: str, chosen: Figures, *, broken_down_by: str | None = None) -> str:
    """The cells of a period that are broken down by what is chosen, and by nothing else but the one named."""
    conditions = [f"period = '{period}'"]
    conditions += [f"{column} = %({column})s" for column in chosen]
    for column, everything in (("workflow_id", ALL), ("client_id", ALL), ("initiator_type", "all")):
        if column == broken_down_by:
            conditions.append(f"{column} <> '{everything}'")
        elif column not in chosen:
            conditions.append(f"{column} = '{everything}'")
    return " AND ".join(conditions)


def _rounded(figure: Fraction, digits: int) -> float:
    exact = Decimal(figure.numerator) / Decimal(figure.denominator)
    return float(exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP))


def _close_to(figure: float | None) -> Any:
    return figure and pytest.approx(figure, rel=1e-9, abs=1e-9)
