"""Whatever happens to lines and jobs, and wherever a run is cut off: in the end every cell is right."""

from collections import defaultdict
from contextlib import suppress
from fractions import Fraction
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from tests.postgres.steps.conftest import StepPipeline
from tests.support.faults.runs import Killed, struck_at
from tests.support.oracle import ALL, SHARES, bucket, percentile
from tests.support.planting import DAY, HOUR, NOON, Tenant, plant_lines
from tests.support.sampling import EVERYTHING

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
EVERY_DAY = {"since": NOON - 90 * DAY, "until": NOON + 90 * DAY}

Figures = dict[tuple[Any, ...], tuple[Any, ...]]

lines = st.fixed_dictionaries(
    {
        "step_name": st.sampled_from(["open", "send", None]),
        "level": st.sampled_from(LEVELS),
        "timestamp": st.integers(-60 * 24, 60 * 24).map(lambda hours: NOON + hours * HOUR),
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


def test_every_history_ends_in_the_right_cells(pipeline: StepPipeline) -> None:
    """Lines come late, are edited, deleted, and lose or change their jobs, between runs that are cut off."""
    tenants = [pipeline.tenant, pipeline.plant_tenant("Borealis")]
    pipeline.live_in(pipeline.tenant, "America/New_York")
    pipeline.live_in(tenants[1], "UTC")

    @examples(max_examples=8 if EVERYTHING else 4, suppress_health_check=list(HealthCheck))
    @given(st.lists(acts, min_size=4, max_size=12))
    def told(history: list[tuple[str, Any, Any]]) -> None:
        jobs = [pipeline.plant_job(tenant) for tenant in tenants for _ in range(3)]
        for act, which, what in history:
            happen(pipeline, tenants, jobs, act, which, what)
        pipeline.refresh()
        pipeline.reconcile(**EVERY_DAY)
        again = pipeline.refresh().steps

        for tenant in tenants:
            assert figures(pipeline, tenant) == expected(pipeline, tenant)
        verified = pipeline.verify().steps
        assert (verified.differences, verified.cells_pending) == ((), 0)
        assert (again.cells_written, again.cells_deleted) == (0, 0)

    told()


def happen(
    pipeline: StepPipeline, tenants: list[Tenant], jobs: list[UUID], act: str, which: Any, what: Any
) -> None:
    """Let one thing happen; what there is nothing for does not."""
    own = [each.organization for each in tenants]
    select = "SELECT id FROM orchestration.execution_logs WHERE organization_id = ANY (%s) ORDER BY id"
    ids = pipeline.source.execute(select, [own]).fetchall()
    match act:
        case "write":
            plant_lines(pipeline.source, tenants[which // 3], jobs[which], what)
        case "edit" if ids:
            pipeline.change_line(ids[which % len(ids)][0], **what)
        case "delete line" if ids:
            delete = "DELETE FROM orchestration.execution_logs WHERE id = %s"
            pipeline.source.execute(delete, ids[which % len(ids)])
        case "reassign":
            pipeline.change_job(jobs[which], workflow_id=tenants[which // 3].workflows[what])
        case "delete job":
            pipeline.change_job(jobs[which], deleted_at=NOON if what else None)
        case "move":
            pipeline.live_in(tenants[which], what)
        case "refresh" | "reconcile":
            # `which` is the number of the point at which the run is cut off.
            with suppress(Killed), struck_at(which):
                pipeline.refresh() if act == "refresh" else pipeline.reconcile(**EVERY_DAY)


def figures(pipeline: StepPipeline, tenant: Tenant) -> Figures:
    """What is stored of each cell: counts, and how long the steps took."""
    counts = [f"{name}_executions" for name in ("completed", "warned", "failed", "timed")]
    return {
        key: (
            *(row[name] for name in counts),
            *(row[name] and pytest.approx(row[name], rel=1e-12) for name in ("average_duration_ms", *SHARES)),
        )
        for key, row in pipeline.step_cells(tenant).items()
    }


def expected(pipeline: StepPipeline, tenant: Tenant) -> Figures:
    """The same by fractions, of the lines that are there now."""
    groups: dict[tuple[Any, ...], list[tuple[str, float | None]]] = defaultdict(list)
    for step, level, moment, ms, workflow, zone in pipeline.source.execute(
        "SELECT step_name, level::text, timestamp, duration_ms, workflow_id, time_zone"
        " FROM orchestration.execution_logs AS l JOIN orchestration.jobs AS j ON j.id = l.job_id"
        " JOIN orchestration.organizations AS o ON o.id = l.organization_id"
        " WHERE l.organization_id = %s AND j.deleted_at IS NULL AND step_name IS NOT NULL",
        [tenant.organization],
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
    percentiles = [float(percentile(timed, share)) for share in SHARES.values()]
    return (*counts, len(timed), float(sum(timed) / len(timed)), *percentiles)
