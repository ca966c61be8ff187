"""Laws that hold for the cells of any jobs whatever."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.compute import engine
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.compute.engine import CellsAt, ChangedCells
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import Restated
from tests.laws.conftest import CALENDAR, Compute, as_cells, facts
from tests.support.generated_jobs import HAVANA, KATHMANDU, ZONES, some_jobs
from tests.support.oracle import ALL, COUNTS, PLAN, Cells, Job, bucket, cells_by_hand, differences
from tests.support.sampling import EVERYTHING

Aggregate = Callable[[Sequence[Job]], Cells]

# An example costs some 50 ms, nearly all of it in the statement of the product.
fast = settings(max_examples=15 if EVERYTHING else 10)

# In Havana two are in one month, and two in one week; in UTC they are not.
NIGHTS = ((2, 20, 12), (2, 28, 12), (3, 1, 3), (3, 4, 3))
HAVANA_NIGHTS = [
    Job(HAVANA, UUID(int=5), None, "USER", "COMPLETED", at, at)
    for at in (datetime(2024, *day_and_hour, tzinfo=UTC) for day_and_hour in NIGHTS)
]

ORDERED = [f"{name}_duration_ms" for name in ("min", "median", "p90", "p95", "p99", "max")]


@settings(max_examples=40 if EVERYTHING else 25)
@given(jobs=some_jobs)
def test_cells_are_what_fractions_say(jobs: list[Job], aggregate: Aggregate) -> None:
    """Every key and every figure equals the one computed with exact fractions."""
    assert differences(aggregate(jobs), cells_by_hand(jobs, ZONES)) == []


@fast
@given(jobs=some_jobs, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_jobs_is_irrelevant(
    jobs: list[Job], seed: random.Random, aggregate: Aggregate
) -> None:
    """Shuffled jobs give the very same doubles, so an identical row is never written again."""
    shuffled = list(jobs)
    seed.shuffle(shuffled)

    assert aggregate(shuffled) == aggregate(jobs)


@fast
@given(jobs=some_jobs)
def test_a_tenants_cells_do_not_depend_on_its_neighbours(jobs: list[Job], aggregate: Aggregate) -> None:
    """Organizations computed one by one give what they give together."""
    apart: dict = {}
    for organization in {job.organization_id for job in jobs}:
        apart |= aggregate([job for job in jobs if job.organization_id == organization])

    assert apart == aggregate(jobs)


@fast
@example(jobs=HAVANA_NIGHTS, take=1)
@given(jobs=some_jobs, take=st.integers(min_value=1, max_value=5))
def test_any_number_of_rows_at_a_time_gives_the_same_cells(
    jobs: list[Job], take: int, aggregate: Aggregate
) -> None:
    """The very same doubles, however an engine cuts its rows into chunks."""
    whole = aggregate(jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CHUNK_ROWS", take)
        assert aggregate(jobs) == whole


@fast
@given(jobs=some_jobs, seed=st.randoms(use_true_random=False))
def test_cells_at_keys_are_those_of_all(
    jobs: list[Job], seed: random.Random, aggregate: Aggregate, compute: Compute
) -> None:
    """Some cells are asked for by key; one that no job is in comes with a total of 0."""
    whole = aggregate(jobs)
    some = set(seed.sample(sorted(whole), min(5, len(whole))))
    empty = (*min(whole)[:3], UUID(int=7), ALL, "all")

    found = compute(jobs, CellsAt(keys_of(some | {empty}), Restated.DRIFT))

    assert found.pop(empty)["total_executions"] == 0
    assert found == {key: whole[key] for key in some}


@fast
@given(jobs=some_jobs, at=st.integers(min_value=0, max_value=40))
def test_changed_cells_are_those_that_the_changes_touch(
    jobs: list[Job], at: int, aggregate: Aggregate, compute: Compute
) -> None:
    """A job that left and a job that is new: their cells come anew, emptied ones with a total of 0."""
    left, new = jobs[at % len(jobs)], jobs[(at + 1) % len(jobs)]
    now = [job for job in jobs if job is not left]
    changes = facts([left, new]).lazy().with_columns(weight=0)

    found = compute(now, ChangedCells(changes))

    whole = aggregate(now) if now else {}
    assert found.keys() == dirty_keys([left, new])
    filled = {key: cell for key, cell in found.items() if cell["total_executions"]}
    assert filled == {key: whole[key] for key in found if key in whole}


@fast
@given(jobs=some_jobs)
def test_parts_add_up_to_the_whole(jobs: list[Job], aggregate: Aggregate) -> None:
    """Whatever a period is broken down by, its counts and total durations sum to the total's."""
    sums: dict = defaultdict(Counter)
    cells = aggregate(jobs)
    for key, cell in cells.items():
        sums[key[:3], broken_down_by(key)].update(added_up(cell))

    for (of, _), added in sums.items():
        assert_equal_sums(added, cells[(*of, ALL, ALL, "all")])


@fast
@given(jobs=some_jobs)
@pytest.mark.parametrize(("part", "whole"), [("hour", "day"), ("day", "week"), ("day", "month")])
def test_hours_add_up_to_days_and_days_to_weeks_and_months(
    part: str, whole: str, jobs: list[Job], aggregate: Aggregate
) -> None:
    """The shorter buckets of every combination sum to the longer one that they lie in.

    But an hour lies across the midnight of a zone that is a quarter of an hour off.
    """
    cells = aggregate(jobs)
    sums: dict = defaultdict(Counter)
    for (organization, period, start, *dimensions), cell in cells.items():
        if period == part and not (part == "hour" and organization == KATHMANDU):
            there = bucket(start, whole, ZONES.get(organization, "UTC"))
            sums[(organization, whole, there, *dimensions)].update(added_up(cell))

    assert sums or {job.organization_id for job in jobs} == {KATHMANDU}
    for key, added in sums.items():
        assert_equal_sums(added, cells[key])


@fast
@given(jobs=some_jobs)
def test_figures_lie_in_their_order(jobs: list[Job], aggregate: Aggregate) -> None:
    """The smallest, the percentiles and the largest ascend, compared exactly; the mean lies between."""
    for cell in aggregate(jobs).values():
        figures = [cell[name] for name in ORDERED]
        if cell["timed_executions"] == 0:
            assert figures == [None] * len(ORDERED)
            assert (cell["average_duration_ms"], cell["total_duration_ms"]) == (None, 0)
            continue
        assert figures == sorted(figures)
        assert figures[0] >= 0
        assert figures[0] * (1 - 1e-12) <= cell["average_duration_ms"] <= figures[-1] * (1 + 1e-12)
        total = cell["average_duration_ms"] * cell["timed_executions"]
        assert math.isclose(cell["total_duration_ms"], total, rel_tol=1e-12)


@settings(max_examples=25 if EVERYTHING else 15)
@example(shortest=5_375_316_786_149_530, more=[0, 0, 0, 0, 0, 0, 1])
@example(shortest=60_639_513_548_279_819, more=[0, 0, 0, 0, 0, 0, 1])
@given(
    shortest=st.integers(min_value=1, max_value=2_000 * 365 * 86_400 * 10**6),
    more=st.lists(st.integers(min_value=0, max_value=2), min_size=1, max_size=12),
)
def test_durations_stay_in_order_however_long_they_are(
    shortest: int, more: list[int], aggregate: Aggregate
) -> None:
    """Near ties of up to two thousand years, beyond whole doubles: the order still holds exactly."""
    noon = datetime.fromisoformat("2024-01-31T12:00:00Z")
    one = Job(UUID(int=1), UUID(int=2), None, "USER", "COMPLETED", noon, noon)
    jobs = [one._replace(started_at=noon - timedelta(microseconds=shortest + extra)) for extra in more]

    for cell in aggregate(jobs).values():
        figures = [cell[name] for name in ORDERED]
        assert figures == sorted(figures)


@fast
@given(jobs=some_jobs)
def test_counts_agree_with_each_other(jobs: list[Job], aggregate: Aggregate) -> None:
    """Total is completed plus failed, the rate is their ratio, and no more are timed than counted.

    The plan has 4 + 7 + 8 + 8 combinations, and every one of them counts every job.
    """
    counted = Counter()
    for key, cell in aggregate(jobs).items():
        total, completed, failed, timed = (cell[name] for name in COUNTS)
        assert total == completed + failed >= 1
        assert 0 <= timed <= total
        assert cell["success_rate_pct"] == pytest.approx(100 * completed / total, rel=1e-14)
        counted[key[1]] += total

    combinations = {"hour": 4, "day": 7, "week": 8, "month": 8}
    assert counted == {period: number * len(jobs) for period, number in combinations.items()}
    assert len(PLAN) == sum(combinations.values())


@fast
@given(jobs=some_jobs)
def test_the_same_jobs_again_change_no_ratio(jobs: list[Job], aggregate: Aggregate) -> None:
    """Every job doubled: counts and totals double; the rate, the mean and the extremes stay."""
    once, doubled = aggregate(jobs), aggregate(jobs * 2)

    assert once.keys() == doubled.keys()
    for key, cell in once.items():
        for name in ("success_rate_pct", "average_duration_ms", "min_duration_ms", "max_duration_ms"):
            assert doubled[key][name] == cell[name]
        for name in (*COUNTS, "total_duration_ms"):
            assert doubled[key][name] == pytest.approx(2 * cell[name], rel=1e-14)


@fast
@given(jobs=some_jobs, at=st.integers(min_value=0, max_value=40))
def test_a_new_job_changes_only_the_cells_that_are_called_dirty(
    jobs: list[Job], at: int, aggregate: Aggregate
) -> None:
    """Dirty cells are those that the jobs are in, each once: 27 of one job; no other differs without it."""
    job = jobs[at % len(jobs)]
    others = [other for place, other in enumerate(jobs) if place != at % len(jobs)]
    with_it, without = aggregate(jobs), aggregate(others) if others else {}

    dirty = dirty_keys([job])

    assert len(dirty) == 27
    assert dirty == set(cells_by_hand([job], ZONES))
    assert dirty >= {key for key in with_it.keys() | without.keys() if with_it.get(key) != without.get(key)}
    assert dirty_keys(jobs) == with_it.keys()


def dirty_keys(jobs: Sequence[Job]) -> set:
    """The keys of the dirty cells, of all periods."""
    return set(as_cells(dirty_cells(facts(jobs), JOBS.rollup, CALENDAR, JOBS)))


def keys_of(keys: Collection[tuple]) -> pl.DataFrame:
    """Keys as an engine takes them."""
    rows = [(key[0].bytes, *key[1:3], key[3].bytes, key[4].bytes, key[5]) for key in keys]
    types = (pl.Binary, pl.String, pl.Datetime("us", "UTC"), pl.Binary, pl.Binary, pl.String)
    return pl.DataFrame(rows, schema=dict(zip(JOBS.key_columns, types, strict=True)), orient="row")


def broken_down_by(key: tuple) -> tuple[bool, bool, bool]:
    """Which dimensions a cell is broken down by."""
    return key[3] != ALL, key[4] != ALL, key[5] != "all"


def added_up(cell: dict) -> dict[str, float]:
    """The figures of a cell that may be added to those of another."""
    return {name: cell[name] for name in (*COUNTS, "total_duration_ms")}


def assert_equal_sums(added: dict, cell: dict) -> None:
    """Counts must be equal, total durations within one part in 10^12."""
    assert {name: added[name] for name in COUNTS} == {name: cell[name] for name in COUNTS}
    assert math.isclose(added["total_duration_ms"], cell["total_duration_ms"], rel_tol=1e-12)
