"""What the cells should be, said twice in ways of our own: exact fractions, and SQL without grouping sets."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

ALL = UUID("00000000-0000-0000-0000-000000000000")
NO_CLIENT = UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")

COUNTS = ("total_executions", "completed_executions", "failed_executions", "timed_executions")
_SHARES = {
    "median": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p95": Fraction(19, 20),
    "p99": Fraction(99, 100),
}
SHARES = {f"{name}_duration_ms": share for name, share in _SHARES.items()}
# Of completed jobs alone.
COMPLETED_SHARES = {f"{name}_completed_duration_ms": _SHARES[name] for name in ("median", "p95")}

# By how many dimensions at most a period is broken down.
Depths = tuple[tuple[str, int], ...]
DEPTHS: Depths = (("hour", 1), ("day", 2), ("week", 3), ("month", 3))


@lru_cache
def plan_of(depths: Depths) -> list[tuple[str, tuple[bool, ...]]]:
    """Each period with each choice of workflow, client and initiator that it is broken down by."""
    choices = list(product((False, True), repeat=3))
    return [(period, chosen) for period, depth in depths for chosen in choices if sum(chosen) <= depth]


# 4 + 7 + 8 + 8 combinations.
PLAN = plan_of(DEPTHS)

Cells = Mapping[tuple[Any, ...], Mapping[str, Any]]


class Job(NamedTuple):
    """A job that counts."""

    organization_id: UUID
    workflow_id: UUID
    client_id: UUID | None
    initiator_type: str | None
    status: str
    started_at: datetime
    completed_at: datetime


def cells_by_hand(jobs: Iterable[Job], zones: Mapping[UUID, str] = {}, depths: Depths = DEPTHS) -> Cells:
    """The cells of jobs that all count, computed with fractions and rounded once.

    An organization lives in the zone that `zones` names, or else in UTC.
    """
    groups: dict[tuple[Any, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        zone = zones.get(job.organization_id, "UTC")
        for period, (by_workflow, by_client, by_initiator) in plan_of(depths):
            workflow = job.workflow_id if by_workflow else ALL
            client = (job.client_id or NO_CLIENT) if by_client else ALL
            initiator = (job.initiator_type or "unknown") if by_initiator else "all"
            start = bucket(job.completed_at, period, zone)
            groups[job.organization_id, period, start, workflow, client, initiator].append(job)
    return {key: _figures_of(members) for key, members in groups.items()}


@lru_cache(maxsize=20_000)
def bucket(moment: datetime, period: str, zone: str = "UTC") -> datetime:
    """The start of the UTC hour, or of the day, ISO week or month by the clocks of a zone.

    Where the clocks show midnight never or twice it is the later of the instants that could be meant. By
    Python's own rules of zones, which for years to come may differ from a server's.
    """
    if period == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    wall = moment.astimezone(ZoneInfo(zone))
    first = wall.date()
    if period == "week":
        first -= timedelta(days=first.weekday())
    elif period == "month":
        first = first.replace(day=1)
    midnight = datetime(first.year, first.month, first.day, tzinfo=wall.tzinfo)
    return max(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def cells_by_sql(source: psycopg.Connection) -> Cells:
    """The cells of every job of the source.

    Days, weeks and months are those of its organization's time zone; UTC's when it has none.
    """
    return cells_of_rows(
        source,
        """
        SELECT jobs.*, coalesce(nullif(time_zone, ''), 'UTC') AS time_zone
        FROM orchestration.jobs
        LEFT JOIN orchestration.organizations ON organizations.id = jobs.organization_id
        WHERE status IN ('COMPLETED', 'FAILED') AND jobs.deleted_at IS NULL AND started_at IS NOT NULL
        """,
        {},
    )


def cells_of_rows(connection: psycopg.Connection, jobs: str, values: Mapping[str, Any]) -> Cells:
    """The cells of the jobs that a query gives, each job joined to the combinations it is in."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            f"""
            WITH plan (period, by_workflow, by_client, by_initiator) AS (VALUES {_plan_values()}),
            jobs AS ({jobs}),
            counted AS (SELECT *, 1000 * extract(epoch FROM completed_at - started_at) AS ms FROM jobs)
            SELECT
                organization_id,
                period,
                date_trunc(period, completed_at, CASE period WHEN 'hour' THEN 'UTC' ELSE time_zone END)
                    AS period_start,
                CASE WHEN by_workflow THEN workflow_id ELSE %(all)s END AS workflow_id,
                CASE WHEN by_client THEN coalesce(client_id, %(nobody)s) ELSE %(all)s END AS client_id,
                CASE WHEN by_initiator THEN coalesce(initiator_type, 'unknown') ELSE 'all' END AS initiator,
                count(*) AS total_executions,
                count(*) FILTER (WHERE status = 'COMPLETED') AS completed_executions,
                count(*) FILTER (WHERE status = 'FAILED') AS failed_executions,
                count(*) FILTER (WHERE ms >= 0) AS timed_executions,
                avg(CASE WHEN status = 'COMPLETED' THEN 100.0 ELSE 0 END)::float8 AS success_rate_pct,
                coalesce(sum(ms) FILTER (WHERE ms >= 0), 0)::float8 AS total_duration_ms,
                (avg(ms) FILTER (WHERE ms >= 0))::float8 AS average_duration_ms,
                (min(ms) FILTER (WHERE ms >= 0))::float8 AS min_duration_ms,
                (max(ms) FILTER (WHERE ms >= 0))::float8 AS max_duration_ms,
                {_percentiles_sql()}
            FROM counted CROSS JOIN plan
            GROUP BY 1, 2, 3, 4, 5, 6
            """,
            {"all": ALL, "nobody": NO_CLIENT, **values},
        )
        rows = cursor.fetchall()
    for row in rows:
        row["period_start"] = row["period_start"].astimezone(UTC)
    return {tuple(row.pop(name) for name in list(row)[:6]): row for row in rows}


def differences(stored: Cells, expected: Cells) -> list[str]:
    """Everything that differs: counts exactly, figures by more than one part in a thousand million."""
    said = [f"left over: {key}" for key in stored.keys() - expected.keys()]
    said += [f"missing: {key}" for key in expected.keys() - stored.keys()]
    for key in stored.keys() & expected.keys():
        for name, value in expected[key].items():
            if not _same(name, stored[key][name], value):
                said.append(f"{name} is {stored[key][name]} instead of {value}: {key}")
    return said


def _same(name: str, stored: float | None, expected: float | None) -> bool:
    if name in COUNTS or stored is None or expected is None:
        return stored == expected
    return math.isclose(stored, expected, rel_tol=1e-9)


def _figures_of(jobs: list[Job]) -> Mapping[str, Any]:
    microsecond = timedelta(microseconds=1)
    lasted = sorted(((job.completed_at - job.started_at) // microsecond, job.status) for job in jobs)
    completed = sum(job.status == "COMPLETED" for job in jobs)
    return _figures(completed, len(jobs) - completed, tuple(each for each in lasted if each[0] >= 0))


@lru_cache(maxsize=20_000)
def _figures(completed: int, failed: int, lasted: tuple[tuple[int, str], ...]) -> Mapping[str, Any]:
    timed = [Fraction(us, 1000) for us, _ in lasted]
    done = [Fraction(us, 1000) for us, status in lasted if status == "COMPLETED"]
    figures: dict[str, Any] = {
        "total_executions": completed + failed,
        "completed_executions": completed,
        "failed_executions": failed,
        "timed_executions": len(timed),
        "success_rate_pct": float(Fraction(100 * completed, completed + failed)),
        "total_duration_ms": float(sum(timed)),
        "average_duration_ms": float(sum(timed) / len(timed)) if timed else None,
        "min_duration_ms": float(timed[0]) if timed else None,
        "max_duration_ms": float(timed[-1]) if timed else None,
    }
    for shares, durations in ((SHARES, timed), (COMPLETED_SHARES, done)):
        for name, share in shares.items():
            figures[name] = float(percentile(durations, share)) if durations else None
    return figures


def percentile(ordered: Sequence[Fraction], share: Fraction) -> Fraction:
    """Linear interpolation at rank (n - 1) * share, as `percentile_cont` has it."""
    rank = (len(ordered) - 1) * share
    below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


def _plan_values() -> str:
    return ", ".join(f"('{period}', {', '.join(map(str, chosen))})" for period, chosen in PLAN)


def _percentiles_sql() -> str:
    asked = [(name, share, "ms >= 0") for name, share in SHARES.items()]
    asked += [(name, share, "ms >= 0 AND status = 'COMPLETED'") for name, share in COMPLETED_SHARES.items()]
    return ", ".join(
        f"percentile_cont({float(share)}) WITHIN GROUP (ORDER BY ms::float8) FILTER (WHERE {among}) AS {name}"
        for name, share, among in asked
    )
