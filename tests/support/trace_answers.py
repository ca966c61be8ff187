"""What the stored cells say to every figure of an oracle that others computed, and where they cannot say."""

import math
from collections import Counter
from collections.abc import Iterator
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


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every figure of an oracle with its path."""
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*path, str(key)))
    else:
        yield path, value


class Answers:
    """Every figure of an oracle by its path: those that agree, those that do not, those not answered.

    The stored figures are read by plain SQL on the aggregates.
    """

    def __init__(self, stored: psycopg.Connection, oracle: dict[str, Any]) -> None:
        self._stored, self._oracle = stored, oracle
        # Of jobs of other statuses the table tells nothing.
        all_finished = oracle["status_counts"].keys() <= {"COMPLETED", "FAILED"}
        self._unless_finished = None if all_finished else OTHER_STATUSES
        self.agreed: set[Path] = set()
        self.disagreed: list[str] = []
        self.unanswered: dict[Path, str] = {}
        self._compare_dataset()
        self._compare_published_checks()
        if "steps" in oracle:
            self._compare_steps(oracle["steps"])
        for rule in ("seed_rule", "nonnegative"):
            figures, timed = oracle[rule], rule == "nonnegative"
            self._compare_block((rule, "overall"), figures["overall"], {}, only_timed=timed)
            for what in ("organization", "workflow", "client"):
                ranking = figures.get(f"{what}s_top5", [])
                self._compare_ranking((rule, f"{what}s_top5"), ranking, what, {}, only_timed=timed)
        self._compare_seed_rule(oracle["seed_rule"])

    @property
    def reasons(self) -> Counter[str]:
        """How many figures are not answered, by reason."""
        return Counter(self.unanswered.values())

    def _check(
        self, path: Path, ours: Any, theirs: Any, *, unless: str | None = None, same: bool | None = None
    ) -> None:
        """Enter one figure, or why it is not answered."""
        if unless:
            self._leave(path, unless, theirs)
        elif ours == theirs if same is None else same:
            self.agreed.add(path)
        else:
            self.disagreed.append(f"{' / '.join(path)}: {ours} is stored, {theirs} was expected")

    def _leave(self, path: Path, reason: str, value: Any) -> None:
        """Say why everything below a path is not answered."""
        self.unanswered |= {leaf: reason for leaf, _ in leaves(value, path)}

    def _compare_dataset(self) -> None:
        oracle, unless, overall = self._oracle, self._unless_finished, self._sums("month", {})
        self._check(("jobs",), overall["total_executions"], oracle["jobs"], unless=unless)
        for status, count in oracle["status_counts"].items():
            ours = overall.get(f"{status.lower()}_executions")
            self._check(
                ("status_counts", status), ours, count, unless=OTHER_STATUSES if ours is None else None
            )
        for table in ("organizations", "workflows", "clients"):
            self._check((table,), self._one(f"SELECT count(*) FROM analytics.{table}"), oracle[table])
        for initiator, count in oracle["initiator_types"].items():
            ours = self._sums("month", {"initiator_type": initiator or "unknown"})["total_executions"]
            self._check(("initiator_types", initiator), ours, count, unless=unless)
        for name, count in oracle["anomalies"].items():
            ours, reason = None, NOT_STORED
            if name == "completed_at < started_at":
                ours, reason = self._one(_NEGATIVE), None
            elif name == "initiator_type missing" and unless is None:
                ours, reason = self._sums("month", {"initiator_type": "unknown"})["total_executions"], None
            elif name == "completed_at missing":
                reason = OTHER_STATUSES
            self._check(("anomalies", name), ours, count, unless=reason)
        for name, reason in (
            *(("dataset", A_NAME), ("rules", A_NAME), ("deleted_jobs", NOT_STORED)),
            *(("started_at_range", BY_START), ("completed_at_range", OTHER_STATUSES)),
        ):
            self._leave((name,), reason, oracle[name])

    def _compare_published_checks(self) -> None:
        """The publishers' own figures, where they count finished jobs."""
        theta, overall = self._sums("month", {"initiator_type": "THETA"}), self._sums("month", {})
        published = {
            "theta Pass jobs": theta["completed_executions"],
            "theta Failed jobs": theta["failed_executions"],
            "events named A_APPROVED": overall["completed_executions"],
            "events named A_DECLINED": overall["failed_executions"],
        }
        for number, check in enumerate(self._oracle["published_checks"]):
            ours = published.get(check["figure"])
            for name, value in check.items():
                known = ours is not None and name in ("published", "computed")
                path = ("published_checks", str(number), name)
                self._check(path, ours, value, unless=None if known else OF_OTHER_COLUMNS)

    def _compare_steps(self, steps: dict[str, Any]) -> None:
        """Rows, levels and durations of steps; the oracle's own percentiles are of all months together."""
        every = self._step(None, {})
        self._check(("steps", "rows"), every["total_executions"], steps["rows"])
        distinct = self._one("SELECT count(DISTINCT step_name) FROM analytics.aggregate_step_metrics")
        self._check(("steps", "distinct_steps"), distinct, steps["distinct_steps"])
        for level, count in steps["levels"].items():
            outcome = {"WARN": "warned", "ERROR": "failed"}.get(level, "completed")
            shared = outcome == "completed" and "DEBUG" in steps["levels"]
            ours, unless = every[f"{outcome}_executions"], SAME_OUTCOME if shared else None
            self._check(("steps", "levels", level), ours, count, unless=unless)
        for name in ("rows_without_job", "rows_per_job"):
            self._leave(("steps", name), NOT_STORED, steps[name])
        biggest = {"organization_id": self._oracle["seed_rule"]["organizations_top5"][0]["id"]}
        for ranking, chosen in (("top10", {}), ("biggest_organization_top5", biggest)):
            for rank, block in enumerate(steps[ranking]):
                self._compare_step(("steps", ranking, str(rank)), block, chosen)

    def _compare_step(self, path: Path, block: dict[str, Any], chosen: dict[str, Any]) -> None:
        ours, duration = self._step(block["step_name"], chosen), dict(block["duration"])
        self._check((*path, "step_name"), ours["step_name"], block["step_name"])
        for name, column in (("rows", "total_executions"), ("errors", "failed_executions")):
            if name in block:
                self._check((*path, name), ours[column], block[name])
        place, negative = (*path, "duration"), duration.get("negative", 0)
        self._check((*place, "n"), ours["timed_executions"] + negative, duration.pop("n"))
        for name, value in duration.items():
            if negative and name != "max_ms":
                self._leave((*place, name), WITH_NEGATIVES, value)
            elif name in ("sum_ms", "min_ms", "max_ms"):
                column = {"sum_ms": "total"}.get(name, name.removesuffix("_ms"))
                self._check((*place, name), ours[f"{column}_duration_ms"], value)
            elif name in MEANS:
                mean = Fraction(int(ours["total_duration_ms"]), int(ours["timed_executions"]))
                self._check((*place, name), _rounded(mean, MEANS[name]), _decimal(value))
            else:
                self._leave((*place, name), IN_MANY_CELLS if name in PERCENTILES else NOT_STORED, value)

    def _step(self, step: str | None, chosen: dict[str, Any]) -> dict[str, Any]:
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

    def _compare_seed_rule(self, figures: dict[str, Any]) -> None:
        name, biggest = "workflows_of_biggest_organization_top5", figures["organizations_top5"][0]["id"]
        within = {"organization_id": biggest}
        self._compare_ranking(("seed_rule", name), figures[name], "workflow", within, only_timed=False)
        for initiator, block in figures["by_initiator_type"].items():
            chosen = {"initiator_type": initiator or "unknown"}
            self._compare_block(("seed_rule", "by_initiator_type", initiator), block, chosen)
        for status in ("completed", "failed"):
            path = ("seed_rule", f"{status}_only_duration")
            block = dict(figures[path[-1]])
            self._check((*path, "n"), self._sums("month", {})[f"{status}_executions"], block.pop("n"))
            self._leave(path, BY_STATUS, block)
        for number, day in enumerate(figures["busiest_day"]):
            self._compare_busiest_day(("seed_rule", "busiest_day", str(number)), day)

    def _compare_ranking(
        self, path: Path, ranking: list[Any], what: str, within: dict[str, Any], *, only_timed: bool
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
                self._check((*place, name), ours[rank][name], block[name])
            figures = {name: value for name, value in block.items() if name not in ("id", "name")}
            self._compare_block(place, figures, within | {column: block["id"]}, only_timed=only_timed)

    def _compare_busiest_day(self, path: Path, day: dict[str, Any]) -> None:
        if day["bucketed_by"] != "completed_at":
            self._leave(path, BY_START, day)
            return
        self._leave((*path, "bucketed_by"), A_NAME, day["bucketed_by"])
        (busiest,) = self._rows(
            f"""
            SELECT period_start::date::text AS day, sum(total_executions) AS jobs
            FROM analytics.aggregate_metrics WHERE {_where("day", {})}
            GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1
            """
        )
        self._check((*path, "day_utc"), busiest["day"], day["day_utc"])
        self._check((*path, "jobs_on_day"), busiest["jobs"], day["jobs_on_day"])
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
        sums = self._sums(period or "month", chosen)
        total, timed = sums["total_executions"], sums["timed_executions"]
        unless = BY_STATUS if only_timed and total != timed else None
        self._check((*path, "total"), timed if only_timed else total, block["total"])
        for name in ("completed", "failed"):
            self._check((*path, name), sums[f"{name}_executions"], block[name], unless=unless)
        rate = _rounded(Fraction(100 * int(sums["completed_executions"]), int(total)), 2)
        theirs = _decimal(block["success_rate_pct"])
        self._check((*path, "success_rate_pct"), rate, theirs, unless=unless)
        cells = self._cells(period, chosen)
        self._compare_duration((*path, "duration"), block["duration"], sums, cells, only_timed=only_timed)

    def _compare_duration(
        self, path: Path, block: dict[str, Any], sums: dict[str, Any], cells: list[Any], *, only_timed: bool
    ) -> None:
        untimed = sums["total_executions"] - sums["timed_executions"]
        counted = sums["timed_executions"] if only_timed else sums["total_executions"]
        self._check((*path, "n"), counted, block["n"])
        self._check((*path, "negative"), 0 if only_timed else untimed, block["negative"])
        self._leave((*path, "p95_disc_ms"), NOT_STORED, block["p95_disc_ms"])
        unless = None if sums["min_duration_ms"] > 0 else NOT_STORED
        self._check((*path, "zero"), 0, block["zero"], unless=unless)
        # A negative duration is never the longest.
        self._check((*path, "max_ms"), sums["max_duration_ms"], block["max_ms"])
        unless = WITH_NEGATIVES if untimed and not only_timed else None
        self._check((*path, "sum_ms"), sums["total_duration_ms"], block["sum_ms"], unless=unless)
        self._check((*path, "min_ms"), sums["min_duration_ms"], block["min_ms"], unless=unless)
        mean = Fraction(sums["total_duration_ms"]) / int(sums["timed_executions"])
        for name, digits in MEANS.items():
            self._check((*path, name), _rounded(mean, digits), _decimal(block[name]), unless=unless)
        if len(cells) != 1:
            unless = unless or IN_MANY_CELLS
        for name, column in PERCENTILES.items():
            ours = cells[0][column]
            same = unless is None and math.isclose(ours, block[name], rel_tol=1e-9, abs_tol=1e-9)
            self._check((*path, name), ours, block[name], unless=unless, same=same)

    def _cells(self, period: str | None, chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """The one cell that holds every job of the group, if there is one, or else several."""
        for candidate in [period] if period else ["month", "week", "day", "hour"]:
            where = _where(candidate, chosen)
            rows = self._rows(f"SELECT * FROM analytics.aggregate_metrics WHERE {where} LIMIT 2", chosen)
            if len(rows) == 1:
                break
        return rows

    def _sums(self, period: str, chosen: dict[str, Any]) -> dict[str, Any]:
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
