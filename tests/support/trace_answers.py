"""What the stored cells say to every figure of an oracle that others computed, and where they cannot say."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.oracle import ALL

Path = tuple[str, ...]

PERCENTILES = {
    "median_ms": "median_duration_ms",
    "p90_ms": "p90_duration_ms",
    "p95_ms": "p95_duration_ms",
    "p99_ms": "p99_duration_ms",
}

# Why a figure of the oracle cannot be read from the aggregates.
A_NAME = "it names the oracle's own rules"
NOT_STORED = "the table does not store it"
OTHER_STATUSES = "about jobs of every status, and only finished ones are counted"
BY_STATUS = "durations are not broken down by status"
BY_START = "buckets are of completion, not of start"
WITH_NEGATIVES = "negative durations are counted, not timed"
IN_MANY_CELLS = "a percentile of jobs in several cells follows from none of them"
OF_OTHER_COLUMNS = "about other columns of the collectors, or about jobs and their lines together"
SAME_OUTCOME = "levels of the same outcome are counted together"


@dataclass
class Answers:
    """Every figure of an oracle by its path: those that agree, those that do not, those not answered."""

    agreed: set[Path] = field(default_factory=set)
    disagreed: list[str] = field(default_factory=list)
    unanswered: dict[Path, str] = field(default_factory=dict)

    def check(self, path: Path, ours: Any, theirs: Any, *, same: bool | None = None) -> None:
        """Enter one figure."""
        if ours == theirs if same is None else same:
            self.agreed.add(path)
        else:
            self.disagreed.append(f"{' / '.join(path)}: {ours} is stored, {theirs} was expected")

    def leave(self, path: Path, reason: str, value: Any) -> None:
        """Say why everything below a path is not answered."""
        for leaf, _ in leaves(value, path):
            self.unanswered[leaf] = reason

    @property
    def reasons(self) -> Counter[str]:
        """How many figures are not answered, by reason."""
        return Counter(self.unanswered.values())


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every figure of an oracle with its path."""
    below = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if below is None:
        yield path, value
        return
    for key, child in below:
        yield from leaves(child, (*path, str(key)))


def compare(stored: psycopg.Connection, oracle: dict[str, Any]) -> Answers:
    """Read from plain SQL on the aggregates what the oracle says."""
    answers = Answers()
    _Reading(stored, answers, oracle).compare()
    return answers


class _Reading:
    def __init__(self, stored: psycopg.Connection, answers: Answers, oracle: dict[str, Any]) -> None:
        self._stored, self._answers, self._oracle = stored, answers, oracle
        statuses = oracle["status_counts"]
        self._all_finished = statuses.keys() <= {"COMPLETED", "FAILED"}

    def compare(self) -> None:
        """Go through the oracle from top to bottom."""
        self._compare_dataset()
        for rule in ("seed_rule", "nonnegative"):
            figures, timed = self._oracle[rule], rule == "nonnegative"
            self._compare_block((rule, "overall"), figures["overall"], {}, only_timed=timed)
            for what in ("organization", "workflow", "client"):
                ranking = figures.get(f"{what}s_top5")
                if ranking:
                    self._compare_ranking((rule, f"{what}s_top5"), ranking, what, {}, only_timed=timed)
        figures = self._oracle["seed_rule"]
        self._compare_ranking(
            ("seed_rule", "workflows_of_biggest_organization_top5"),
            figures["workflows_of_biggest_organization_top5"],
            "workflow",
            {"organization_id": figures["organizations_top5"][0]["id"]},
            only_timed=False,
        )
        for initiator, block in figures["by_initiator_type"].items():
            chosen = {"initiator_type": initiator or "unknown"}
            self._compare_block(("seed_rule", "by_initiator_type", initiator), block, chosen)
        self._compare_one_status()
        self._compare_busiest_days(figures["busiest_day"])

    def _compare_dataset(self) -> None:
        oracle, answers = self._oracle, self._answers
        overall = self._sums("month", {})
        if self._all_finished:
            answers.check(("jobs",), overall["total_executions"], oracle["jobs"])
        else:
            answers.leave(("jobs",), OTHER_STATUSES, oracle["jobs"])
        for status, count in oracle["status_counts"].items():
            path = ("status_counts", status)
            if status in ("COMPLETED", "FAILED"):
                answers.check(path, overall[f"{status.lower()}_executions"], count)
            else:
                answers.leave(path, OTHER_STATUSES, count)
        for table in ("organizations", "workflows", "clients"):
            answers.check((table,), self._one(f"SELECT count(*) FROM analytics.{table}"), oracle[table])
        for initiator, count in oracle["initiator_types"].items():
            path = ("initiator_types", initiator)
            sums = self._sums("month", {"initiator_type": initiator or "unknown"})
            if self._all_finished:
                answers.check(path, sums["total_executions"], count)
            else:
                answers.leave(path, OTHER_STATUSES, count)
        self._compare_anomalies()
        for name, reason in (("dataset", A_NAME), ("rules", A_NAME), ("deleted_jobs", NOT_STORED)):
            answers.leave((name,), reason, oracle[name])
        answers.leave(("started_at_range",), BY_START, oracle["started_at_range"])
        answers.leave(("completed_at_range",), OTHER_STATUSES, oracle["completed_at_range"])
        self._compare_steps(oracle.get("steps", {}))
        self._compare_published_checks(overall)

    def _compare_anomalies(self) -> None:
        for name, count in self._oracle["anomalies"].items():
            path = ("anomalies", name)
            if name == "completed_at < started_at":
                listed = self._one(
                    "SELECT count(*) FROM analytics.job_anomalies"
                    " WHERE reason = 'negative_duration' AND effect = 'not_timed'"
                )
                self._answers.check(path, listed, count)
            elif name == "initiator_type missing" and self._all_finished:
                unknown = self._sums("month", {"initiator_type": "unknown"})
                self._answers.check(path, unknown["total_executions"], count)
            else:
                reason = OTHER_STATUSES if name == "completed_at missing" else NOT_STORED
                self._answers.leave(path, reason, count)

    def _compare_published_checks(self, overall: dict[str, Any]) -> None:
        """The publishers' own figures, where they count finished jobs."""
        theta = self._sums("month", {"initiator_type": "THETA"})
        published = {
            "theta Pass jobs": theta["completed_executions"],
            "theta Failed jobs": theta["failed_executions"],
            "events named A_APPROVED": overall["completed_executions"],
            "events named A_DECLINED": overall["failed_executions"],
        }
        for number, check in enumerate(self._oracle["published_checks"]):
            path = ("published_checks", str(number))
            ours = published.get(check["figure"])
            for name, value in check.items():
                if ours is not None and name in ("published", "computed"):
                    self._answers.check((*path, name), ours, value)
                else:
                    self._answers.leave((*path, name), OF_OTHER_COLUMNS, value)

    def _compare_steps(self, steps: dict[str, Any]) -> None:
        """Rows, levels and durations of steps; the oracle's own percentiles are of all months together."""
        if not steps:
            return
        answers = self._answers
        every = self._step(None, {})
        answers.check(("steps", "rows"), every["total_executions"], steps["rows"])
        distinct = self._one("SELECT count(DISTINCT step_name) FROM analytics.aggregate_step_metrics")
        answers.check(("steps", "distinct_steps"), distinct, steps["distinct_steps"])
        for level, count in steps["levels"].items():
            outcome = {"WARN": "warned", "ERROR": "failed"}.get(level, "completed")
            if outcome == "completed" and "DEBUG" in steps["levels"]:
                answers.leave(("steps", "levels", level), SAME_OUTCOME, count)
            else:
                answers.check(("steps", "levels", level), every[f"{outcome}_executions"], count)
        for name in ("rows_without_job", "rows_per_job"):
            answers.leave(("steps", name), NOT_STORED, steps[name])
        biggest = {"organization_id": self._oracle["seed_rule"]["organizations_top5"][0]["id"]}
        for ranking, chosen in (("top10", {}), ("biggest_organization_top5", biggest)):
            for rank, block in enumerate(steps[ranking]):
                self._compare_step(("steps", ranking, str(rank)), block, chosen)

    def _compare_step(self, path: Path, block: dict[str, Any], chosen: dict[str, Any]) -> None:
        answers, ours = self._answers, self._step(block["step_name"], chosen)
        answers.check((*path, "step_name"), ours["step_name"], block["step_name"])
        for name, column in (("rows", "total_executions"), ("errors", "failed_executions")):
            if name in block:
                answers.check((*path, name), ours[column], block[name])
        place, duration = (*path, "duration"), block["duration"]
        negative = duration.get("negative", 0)
        answers.check((*place, "n"), ours["timed_executions"] + negative, duration["n"])
        for name, value in duration.items():
            column = {
                "sum_ms": "total_duration_ms",
                "min_ms": "min_duration_ms",
                "max_ms": "max_duration_ms",
            }.get(name)
            if name == "n":
                continue
            if negative and name != "max_ms":
                answers.leave((*place, name), WITH_NEGATIVES, value)
            elif column:
                answers.check((*place, name), ours[column], value)
            elif name in ("mean_ms", "mean_ms_rounded"):
                mean = Fraction(int(ours["total_duration_ms"]), int(ours["timed_executions"]))
                places = 3 if name == "mean_ms" else 0
                answers.check((*place, name), _rounded(mean, places), _decimal(value))
            elif name in PERCENTILES:
                answers.leave((*place, name), IN_MANY_CELLS, value)
            else:
                answers.leave((*place, name), NOT_STORED, value)

    def _step(self, step: str | None, chosen: dict[str, Any]) -> dict[str, Any]:
        """The months of a step, or of all steps, added up."""
        return self._rows(
            """
            SELECT
                min(step_name) AS step_name,
                sum(total_executions) AS total_executions,
                sum(completed_executions) AS completed_executions,
                sum(warned_executions) AS warned_executions,
                sum(failed_executions) AS failed_executions,
                sum(timed_executions) AS timed_executions,
                sum(total_duration_ms) AS total_duration_ms,
                min(min_duration_ms) AS min_duration_ms,
                max(max_duration_ms) AS max_duration_ms
            FROM analytics.aggregate_step_metrics
            WHERE
                period = 'month' AND workflow_id = %(all)s
                AND (%(step)s::text IS NULL OR step_name = %(step)s)
                AND (%(organization_id)s::uuid IS NULL OR organization_id = %(organization_id)s)
            """,
            {"all": ALL, "step": step, "organization_id": None} | chosen,
        )[0]

    def _compare_ranking(
        self,
        path: Path,
        ranking: list[dict[str, Any]],
        what: str,
        within: dict[str, Any],
        *,
        only_timed: bool,
    ) -> None:
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
        for rank, block in enumerate(ranking):
            place = (*path, str(rank))
            for name in ("id", "name"):
                self._answers.check((*place, name), ours[rank][name], block[name])
            figures = {name: value for name, value in block.items() if name not in ("id", "name")}
            self._compare_block(place, figures, within | {column: block["id"]}, only_timed=only_timed)

    def _compare_one_status(self) -> None:
        for status in ("completed", "failed"):
            path = ("seed_rule", f"{status}_only_duration")
            block = dict(self._oracle["seed_rule"][path[-1]])
            self._answers.check((*path, "n"), self._sums("month", {})[f"{status}_executions"], block.pop("n"))
            self._answers.leave(path, BY_STATUS, block)

    def _compare_busiest_days(self, days: list[dict[str, Any]]) -> None:
        for number, day in enumerate(days):
            path = ("seed_rule", "busiest_day", str(number))
            if day["bucketed_by"] != "completed_at":
                self._answers.leave(path, BY_START, day)
                continue
            self._answers.leave((*path, "bucketed_by"), A_NAME, day["bucketed_by"])
            busiest = self._rows(
                f"""
                SELECT period_start::date::text AS day, sum(total_executions) AS jobs
                FROM analytics.aggregate_metrics WHERE {_where("day", {})}
                GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1
                """
            )[0]
            self._answers.check((*path, "day_utc"), busiest["day"], day["day_utc"])
            self._answers.check((*path, "jobs_on_day"), busiest["jobs"], day["jobs_on_day"])
            midnight = datetime.fromisoformat(day["day_utc"]).replace(tzinfo=UTC)
            self._compare_block((*path, "all_day"), day["all_day"], {"period_start": midnight}, period="day")
            for hour, block in day["hours"].items():
                chosen = {"period_start": midnight + timedelta(hours=int(hour))}
                self._compare_block((*path, "hours", hour), block, chosen, period="hour")

    def _compare_block(
        self,
        path: Path,
        block: dict[str, Any],
        chosen: dict[str, Any],
        *,
        period: str | None = None,
        only_timed: bool = False,
    ) -> None:
        """Counts, rate and durations of one group of jobs, over all time or in one bucket."""
        sums, duration = self._sums(period or "month", chosen), block["duration"]
        total, timed = sums["total_executions"], sums["timed_executions"]
        complete = total == timed
        self._answers.check((*path, "total"), timed if only_timed else total, block["total"])
        if only_timed and not complete:
            for name in ("completed", "failed", "success_rate_pct"):
                self._answers.leave((*path, name), BY_STATUS, block[name])
        else:
            for name in ("completed", "failed"):
                self._answers.check((*path, name), sums[f"{name}_executions"], block[name])
            rate = _rounded(Fraction(100 * int(sums["completed_executions"]), int(total)), 2)
            self._answers.check((*path, "success_rate_pct"), rate, _decimal(block["success_rate_pct"]))
        self._compare_duration((*path, "duration"), duration, sums, period, chosen, only_timed=only_timed)

    def _compare_duration(
        self,
        path: Path,
        block: dict[str, Any],
        sums: dict[str, Any],
        period: str | None,
        chosen: dict[str, Any],
        *,
        only_timed: bool,
    ) -> None:
        answers, untimed = self._answers, sums["total_executions"] - sums["timed_executions"]
        counted = sums["timed_executions"] if only_timed else sums["total_executions"]
        answers.check((*path, "n"), counted, block["n"])
        answers.check((*path, "negative"), 0 if only_timed else untimed, block["negative"])
        answers.leave((*path, "p95_disc_ms"), NOT_STORED, block["p95_disc_ms"])
        if sums["min_duration_ms"] > 0:
            answers.check((*path, "zero"), 0, block["zero"])
        else:
            answers.leave((*path, "zero"), NOT_STORED, block["zero"])
        # A negative duration is never the longest.
        answers.check((*path, "max_ms"), sums["max_duration_ms"], block["max_ms"])
        if untimed and not only_timed:
            for name in ("sum_ms", "min_ms", "mean_ms", "mean_ms_rounded", *PERCENTILES):
                answers.leave((*path, name), WITH_NEGATIVES, block[name])
            return
        mean = Fraction(sums["total_duration_ms"]) / int(sums["timed_executions"])
        answers.check((*path, "sum_ms"), sums["total_duration_ms"], block["sum_ms"])
        answers.check((*path, "min_ms"), sums["min_duration_ms"], block["min_ms"])
        answers.check((*path, "mean_ms"), _rounded(mean, 3), _decimal(block["mean_ms"]))
        answers.check((*path, "mean_ms_rounded"), _rounded(mean, 0), _decimal(block["mean_ms_rounded"]))
        cell = self._only_cell(period, chosen)
        for name, column in PERCENTILES.items():
            if cell is None:
                answers.leave((*path, name), IN_MANY_CELLS, block[name])
                continue
            same = math.isclose(cell[column], block[name], rel_tol=1e-9, abs_tol=1e-9)
            answers.check((*path, name), cell[column], block[name], same=same)

    def _only_cell(self, period: str | None, chosen: dict[str, Any]) -> dict[str, Any] | None:
        """The one cell that holds every job of the group, if there is one."""
        for candidate in [period] if period else ["month", "week", "day", "hour"]:
            rows = self._rows(
                f"SELECT * FROM analytics.aggregate_metrics WHERE {_where(candidate, chosen)} LIMIT 2", chosen
            )
            if len(rows) == 1:
                return rows[0]
        return None

    def _sums(self, period: str, chosen: dict[str, Any]) -> dict[str, Any]:
        return self._rows(
            f"""
            SELECT
                coalesce(sum(total_executions), 0) AS total_executions,
                coalesce(sum(completed_executions), 0) AS completed_executions,
                coalesce(sum(failed_executions), 0) AS failed_executions,
                coalesce(sum(timed_executions), 0) AS timed_executions,
                sum(total_duration_ms) AS total_duration_ms,
                min(min_duration_ms) AS min_duration_ms,
                max(max_duration_ms) AS max_duration_ms
            FROM analytics.aggregate_metrics WHERE {_where(period, chosen)}
            """,
            chosen,
        )[0]

    def _one(self, statement: str) -> int:
        row = self._stored.execute(statement).fetchone()
        return 0 if row is None else row[0]

    def _rows(self, statement: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._stored.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def _where(period: str, chosen: dict[str, Any], *, broken_down_by: str | None = None) -> str:
    """The cells of a period that are broken down by what is chosen, and by nothing else but the one named."""
    conditions = [f"period = '{period}'"]
    conditions += [f"{column} = %({column})s" for column in chosen]
    for column, everything in (("workflow_id", ALL), ("client_id", ALL), ("initiator_type", "all")):
        if column == broken_down_by:
            conditions.append(f"{column} <> '{everything}'")
        elif column not in chosen:
            conditions.append(f"{column} = '{everything}'")
    return " AND ".join(conditions)


def _rounded(figure: Fraction, digits: int) -> Decimal:
    exact = Decimal(figure.numerator) / Decimal(figure.denominator)
    return exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def _decimal(figure: float) -> Decimal:
    return Decimal(str(figure))
