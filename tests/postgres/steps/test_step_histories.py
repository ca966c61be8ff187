"""Whatever happens to lines and jobs, and wherever a run is cut off: in the end every cell is right."""

import math
from collections import defaultdict
from contextlib import suppress
from fractions import Fraction
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import reconcile, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.postgres.steps.conftest import settle, step_cells
from tests.support.faults.runs import Killed, struck_at
from tests.support.oracle import ALL, SHARES, bucket
from tests.support.planting import DAY, HOUR, NOON, Tenant, change_job, plant_job, plant_lines, plant_tenant
from tests.support.sampling import EVERYTHING

ZONES = {"Acme": "America/New_York", "Borealis": "UTC"}
NAMES = ("open", "send", None)
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

moments = st.integers(-60 * 24, 60 * 24).map(lambda hours: NOON + hours * HOUR)
lines = st.fixed_dictionaries(
    {
        "step_name": st.sampled_from(NAMES),
        "level": st.sampled_from(LEVELS),
        "timestamp": moments,
        "duration_ms": st.none() | st.integers(-3_000, 90_000_000).map(lambda us: us / 1000),
    }
)
# Which line or job, what becomes of it.
acts = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 5), st.lists(lines, min_size=1, max_size=4)),
    st.tuples(st.just("edit"), st.integers(0, 30), lines),
    st.tuples(st.just("delete line"), st.integers(0, 30), st.none()),
    st.tuples(st.just("reassign"), st.integers(0, 5), st.integers(0, 1)),
    st.tuples(st.just("delete job"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("move"), st.integers(0, 1), st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])),
    st.tuples(st.just("refresh"), st.none() | st.integers(0, 45), st.none()),
    st.tuples(st.just("reconcile"), st.none() | st.integers(0, 45), st.none()),
)


@pytest.fixture
def tenants(source: psycopg.Connection) -> list[Tenant]:
    """Two organizations, by two clocks."""
    planted = []
    for name, zone in ZONES.items():
        planted.append(plant_tenant(source, name))
        settle(source, planted[-1], zone)
    return planted


def test_every_history_ends_in_the_right_cells(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenants: list[Tenant],
) -> None:
    """Lines come late, are edited, deleted, and lose or change their jobs, between runs that are cut off."""

    @examples(max_examples=8 if EVERYTHING else 4, suppress_health_check=list(HealthCheck))
    @given(st.lists(acts, min_size=4, max_size=12))
    def told(history: list[tuple[str, Any, Any]]) -> None:
        jobs = [plant_job(source, tenant) for tenant in tenants for _ in range(3)]
        for act, which, what in history:
            happen(databases, settings, source, tenants, jobs, act, which, what)
        refresh(databases, settings)
        reconcile(databases, settings, since=NOON - 90 * DAY, until=NOON + 90 * DAY)
        again = refresh(databases, settings)

        for tenant in tenants:
            assert figures(analytics, tenant.organization) == expected(source, tenant.organization)
        verified = verify(databases, settings)
        assert (verified.steps.differences, verified.steps.cells_pending) == ((), 0)
        assert again.steps is not None
        assert (again.steps.cells_written, again.steps.cells_deleted) == (0, 0)

    told()


def happen(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    tenants: list[Tenant],
    jobs: list[UUID],
    act: str,
    which: Any,
    what: Any,
) -> None:
    """Let one thing happen; what there is nothing for does not."""
    ids = source.execute("SELECT id FROM orchestration.execution_logs ORDER BY id").fetchall()
    match act:
        case "write":
            plant_lines(source, tenants[which // 3], jobs[which], what)
        case "edit" if ids:
            source.execute(
                "UPDATE orchestration.execution_logs SET step_name = %(step_name)s, level = %(level)s,"
                " timestamp = %(timestamp)s, duration_ms = %(duration_ms)s WHERE id = %(id)s",
                what | {"id": ids[which % len(ids)][0]},
            )
        case "delete line" if ids:
            source.execute(
                "DELETE FROM orchestration.execution_logs WHERE id = %s", [ids[which % len(ids)][0]]
            )
        case "reassign":
            change_job(source, jobs[which], workflow_id=tenants[which // 3].workflows[what])
        case "delete job":
            change_job(source, jobs[which], deleted_at=NOON if what else None)
        case "move":
            settle(source, tenants[which], what)
        case "refresh" | "reconcile":
            run(databases, settings, act, which)


def run(databases: Databases, settings: Settings, act: str, cut_at: int | None) -> None:
    """Run, and cut the run off at one of the points that it passes."""
    with suppress(Killed), struck_at(cut_at):
        if act == "refresh":
            refresh(databases, settings)
        else:
            reconcile(databases, settings, since=NOON - 90 * DAY, until=NOON + 90 * DAY)


def figures(analytics: psycopg.Connection, organization: UUID) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What is stored of each cell: counts, and how long the steps took."""
    return {
        key: (
            *(row[f"{name}_executions"] for name in ("completed", "warned", "failed", "timed")),
            *(
                None if value is None else pytest.approx(value, rel=1e-12)
                for value in (row["average_duration_ms"], *(row[share] for share in SHARES))
            ),
        )
        for key, row in step_cells(analytics, organization).items()
    }


def expected(source: psycopg.Connection, organization: UUID) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The same by fractions, of the lines that are there now."""
    (zone,) = source.execute(
        "SELECT time_zone FROM orchestration.organizations WHERE id = %s", [organization]
    ).fetchone()
    groups: dict[tuple[Any, ...], list[tuple[str, float | None]]] = defaultdict(list)
    for step, level, moment, ms, workflow in source.execute(
        "SELECT step_name, level::text, timestamp, duration_ms, workflow_id"
        " FROM orchestration.execution_logs AS l JOIN orchestration.jobs AS j ON j.id = l.job_id"
        " WHERE l.organization_id = %s AND j.deleted_at IS NULL AND step_name IS NOT NULL",
        [organization],
    ):
        for period in ("hour", "day", "week", "month"):
            for owner in (workflow, ALL):
                groups[period, bucket(moment, period, zone), owner, step].append((level, ms))
    return {key: summed(members) for key, members in groups.items()}


def summed(members: list[tuple[str, float | None]]) -> tuple[Any, ...]:
    """Counts by outcome, and the figures of the valid durations."""
    levels = [level for level, _ in members]
    counts = [sum(level in group for level in levels) for group in (LEVELS[:3], LEVELS[3:4], LEVELS[4:])]
    timed = sorted(Fraction(round(ms * 1000)) / 1000 for _, ms in members if ms is not None and ms >= 0)
    if not timed:
        return (*counts, 0, *[None] * (1 + len(SHARES)))
    percentiles = []
    for share in SHARES.values():
        rank = (len(timed) - 1) * share
        below, above = timed[math.floor(rank)], timed[math.ceil(rank)]
        percentiles.append(float(below + (rank - math.floor(rank)) * (above - below)))
    return (*counts, len(timed), float(sum(timed) / len(timed)), *percentiles)
