"""Steps are counted by their outcome and timed exactly, and follow whatever becomes of their lines.

`verify` compares their cells with plain SQL on the logs. An organization whose steps fail is on record until
they succeed, and the others are published.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.errors import TooManyFailures
from pipelines.facts.fact_table import open_facts
from pipelines.runs.checks import standing_failures
from pipelines.runs.refresh import FailedOrganization
from pipelines.subjects.steps import STEPS
from tests.postgres.steps.conftest import StepPipeline
from tests.support.oracle import ALL
from tests.support.planting import DAY, HOUR, NOON, plant_lines

pytestmark = pytest.mark.every_postgres

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
REFUSED = "RaiseException"


@pytest.fixture
def measured(pipeline: StepPipeline) -> StepPipeline:
    """A tenant in Amsterdam with two jobs of many steps, measured."""
    pipeline.live_in(pipeline.tenant, "Europe/Amsterdam")
    for workflow in pipeline.tenant.workflows:
        pipeline.plant_lines(*map(line, range(40)), workflow_id=workflow)
    pipeline.refresh()
    return pipeline


def line(number: int) -> dict[str, object]:
    """One of many lines, of any step, level and duration."""
    return {
        "step_name": ("open", "send", "close")[number % 3],
        "timestamp": NOON + number * 7 * HOUR,
        "level": ("INFO", "WARN", "ERROR", "FATAL", "TRACE")[number % 5],
        "duration_ms": None if number % 11 == 0 else number * 1.7 - 3,
    }


@pytest.fixture
def patient(pipeline: StepPipeline) -> StepPipeline:
    """The same, but a run may be good although most organizations failed."""
    return pipeline.having(tolerated_failures_pct=100)


def test_a_step_is_counted_by_how_it_ended(pipeline: StepPipeline) -> None:
    """Levels up to INFO completed, WARN warned, ERROR and FATAL failed; a line without a step is none."""
    lines = [{"step_name": "send", "level": level} for level in LEVELS]
    pipeline.plant_lines(*lines, {"level": "ERROR"}, {"step_name": "", "level": "ERROR"})

    report = pipeline.refresh()

    assert report.steps is not None
    (cell,) = pipeline.months("send")
    counts = ("total", "completed", "warned", "failed", "timed")
    assert [cell[f"{name}_executions"] for name in counts] == [6, 3, 1, 2, 0]
    assert (cell["total_duration_ms"], cell["average_duration_ms"]) == (0, None)
    assert [name for *_, name in pipeline.step_cells()] == ["send"] * 8


def test_a_negative_duration_is_counted_and_not_timed(pipeline: StepPipeline) -> None:
    """Figures are of valid durations alone, exact to the microsecond."""
    durations = (-5, None, 0, 0.001, 1.5, 10, 1_000_000.25)
    pipeline.plant_lines(*({"step_name": "open", "duration_ms": each} for each in durations))

    pipeline.refresh()

    (cell,) = pipeline.months("open")
    assert [cell[f"{name}_executions"] for name in ("total", "timed")] == [7, 5]
    figures = [cell[f"{name}_duration_ms"] for name in ("total", "min", "max", "median")]
    assert figures == [1_000_011.751, 0, 1_000_000.25, 1.5]
    assert cell["p90_duration_ms"] == pytest.approx(10 + 0.6 * (1_000_000.25 - 10), rel=1e-12)


def test_whatever_becomes_of_a_line_the_next_refresh_follows(pipeline: StepPipeline) -> None:
    """A late or edited line, a soft-deleted or reassigned job change the cells they left and entered."""
    job, other = (pipeline.plant_job(pipeline.tenant) for _ in range(2))
    lines = [{"step_name": "send", "duration_ms": ms} for ms in (10, 20)]
    first, second = pipeline.plant_lines(*lines, job=job)
    pipeline.plant_lines({"step_name": "send", "duration_ms": 40}, job=other)
    pipeline.refresh()
    theirs = pipeline.step_cells(pipeline.neighbour)
    assert pipeline.refresh().steps.cells_written == 0

    pipeline.change_line(first, duration_ms=70)
    pipeline.refresh()
    assert durations(pipeline) == [130]

    pipeline.change_line(second, timestamp=NOON - 40 * DAY)
    pipeline.refresh()
    assert durations(pipeline) == [20, 110]

    pipeline.change_job(other, deleted_at=NOON)
    pipeline.refresh()
    assert durations(pipeline) == [20, 70]

    pipeline.change_job(job, workflow_id=pipeline.tenant.workflows[1])
    pipeline.refresh()
    assert {workflow for _, _, workflow, _ in pipeline.step_cells()} == {ALL, pipeline.tenant.workflows[1]}

    pipeline.change_line(first, step_name=None)
    pipeline.change_line(second, step_name="open")
    pipeline.refresh()
    assert {name for *_, name in pipeline.step_cells()} == {"open"}
    assert pipeline.step_cells(pipeline.neighbour) == theirs


def durations(pipeline: StepPipeline) -> list[float]:
    """How long the step `send` took in each month."""
    return [row["total_duration_ms"] for row in pipeline.months("send")]


def test_a_step_of_the_future_counts_when_its_time_has_come(pipeline: StepPipeline) -> None:
    """Nobody writes the line again; the run that finds it due reads it by its timestamp."""
    pipeline.plant_lines({"step_name": "send", "timestamp": datetime.now(UTC) + HOUR})
    too_early = pipeline.having(future_tolerance=HOUR / 2).refresh()
    nothing = pipeline.step_cells()
    # As if the first run had been two hours ago.
    earlier = "extracted_at = extracted_at - interval '2 hours'"
    pipeline.analytics.execute(f"UPDATE analytics.watermarks SET {earlier} WHERE subject = 'steps'")

    pipeline.having(future_tolerance=2 * HOUR).refresh()

    assert (too_early.steps.not_counted, nothing) == (1, {})
    assert len(pipeline.step_cells()) == 8


def test_a_source_without_readable_logs_has_no_steps(pipeline: StepPipeline) -> None:
    """Another program's source may have no such table, or another one of that name."""
    pipeline.source.execute("DROP TABLE orchestration.execution_logs")
    without = pipeline.refresh()
    pipeline.source.execute("CREATE TABLE orchestration.execution_logs (id text, said text)")
    other = pipeline.refresh()

    assert (without.steps, other.steps) == (None, None)
    assert without.cells_written > 0
    assert pipeline.verify().steps.cells_compared == 0
    watermarks = pipeline.analytics.execute("SELECT FROM analytics.watermarks WHERE subject = 'steps'")
    assert watermarks.fetchall() == []


def test_a_spoilt_missing_or_left_over_cell_is_named(measured: StepPipeline) -> None:
    """Every cell that is stored is compared, and is what SQL says until it is spoilt.

    Each difference says which figure of which step, what is stored and what was expected.
    """
    stored = len(measured.step_cells()) + len(measured.step_cells(measured.neighbour))
    sound = measured.verify().steps
    mine = {"tenant": measured.tenant.organization, "start": "2024-01-31 23:00Z", "all": ALL}
    table = "analytics.aggregate_step_metrics"
    where = "organization_id = %(tenant)s AND period = 'month' AND period_start = %(start)s"
    columns = ("max_duration_ms", "total_executions", "warned_executions")
    more = ", ".join(f"{column} = {column} + 1" for column in columns)
    for change in (
        f"UPDATE {table} SET {more} WHERE {where} AND step_name = 'open' AND workflow_id = %(all)s",
        f"DELETE FROM {table} WHERE {where} AND step_name = 'send'",
        f"UPDATE {table} SET step_name = 'never' WHERE {where} AND step_name = 'close'",
    ):
        measured.analytics.execute(change, mine)

    report = measured.verify(organization_ids=[measured.tenant.organization]).steps

    assert (sound.cells_compared, sound.cells_pending, sound.differences) == (stored, 0, ())
    assert stored == 274
    named = {(each.cell["step_name"], each.column) for each in report.differences}
    rows = {(step, "row") for step in ("close", "never", "send")}
    assert named == rows | {("open", column) for column in columns}
    assert {each.organization_id for each in report.differences} == {measured.tenant.organization}


def test_what_was_written_since_waits(measured: StepPipeline) -> None:
    """A new or an edited line, a reassigned job and a move make cells wait; the next refresh settles them.

    Days, weeks and months of an organization that moves begin where those of its jobs do.
    """
    job = measured.plant_job(measured.tenant)
    (line,) = measured.plant_lines({"step_name": "open", "timestamp": NOON + 3 * DAY}, job=job)
    waiting = [measured.verify().steps]
    measured.refresh()
    measured.change_line(line, level="FATAL")
    waiting.append(measured.verify().steps)
    measured.refresh()
    measured.change_job(job, workflow_id=measured.tenant.workflows[1])
    waiting.append(measured.verify().steps)
    measured.refresh()
    waiting.append(measured.verify().steps)
    measured.live_in(measured.tenant, "America/New_York")
    moves = measured.verify().steps
    moved = measured.refresh()
    settled = measured.verify().steps

    assert [report.cells_pending for report in waiting] == [8, 8, 12, 0]
    assert [report.differences for report in (*waiting, moves, settled)] == [()] * 6
    assert moved.steps.cells_written > 0
    assert settled.cells_pending == 0


def test_who_failed_is_named_and_then_made_good_alone(pipeline: StepPipeline, patient: StepPipeline) -> None:
    """It is cleared by success; where the feed is lost, who lags is computed as a whole and nobody else."""
    for each in (patient.tenant, patient.neighbour):
        plant_lines(patient.source, each, patient.plant_job(each), [{"step_name": "late"}])
    patient.refresh()
    patient.source.execute("UPDATE orchestration.execution_logs SET level = 'ERROR' WHERE step_name = 'late'")
    mine = patient.tenant.organization

    with refusing_steps(patient):
        report = patient.refresh()
        standing = failing(patient)
        with pytest.raises(TooManyFailures, match=f"steps of 1 of 2: {mine} {REFUSED}"):
            pipeline.refresh()
    for file in (Path(patient.settings.step_facts_location) / "_change_data").rglob("*.parquet"):
        file.unlink()
    job = patient.plant_job(patient.neighbour)
    plant_lines(patient.source, patient.neighbour, job, [{"step_name": "new"}])
    mended = patient.refresh()

    assert (report.failed, report.steps.failed) == ((), (FailedOrganization(mine, REFUSED),))
    assert standing == [(mine, "steps", REFUSED)]
    assert failing(patient) == []
    assert mended.steps.cells_computed == len(patient.step_cells()) + 8
    assert patient.verify().steps.differences == ()


def test_guarded_deletes_of_steps_stand_until_they_are_accepted(patient: StepPipeline) -> None:
    """A refresh between two reconciles forgives nothing; a dry run tells of them, and of other changes."""
    lines = patient.plant_lines(*[{"step_name": "send"}] * 1_200)
    patient.refresh()
    patient.source.execute("DELETE FROM orchestration.execution_logs WHERE id = ANY(%s)", [lines[:1_100]])
    mine = patient.tenant.organization
    named = [(mine, "steps", "DeletesNotAccepted")]

    guarded = patient.reconcile_created()
    first = failing(patient)
    patient.refresh()
    refreshed = failing(patient)
    patient.change_line(lines[-1], step_name="open")
    version = open_facts(patient.settings, STEPS.fact).version
    (proposed,) = patient.dry_run(since=NOON - DAY, until=NOON + DAY)
    unchanged = open_facts(patient.settings, STEPS.fact).version == version
    accepted = patient.reconcile_created(accept_deletes=True)

    assert guarded.steps.failed == (FailedOrganization(mine, "DeletesNotAccepted"),)
    assert (first, refreshed) == (named, named)
    assert (proposed.organization_id, proposed.jobs.cells) == (mine, 0)
    assert (proposed.steps.rows, proposed.steps.deletes_guarded, unchanged) == (1, 1_100, True)
    assert (accepted.steps.facts_deleted, failing(patient)) == (1_100, [])
    assert patient.verify().steps.differences == ()


def failing(pipeline: StepPipeline) -> list[tuple[object, str, str]]:
    """What stands as broken, and is in the status too."""
    said = {each.organization_id: each for each in pipeline.status().organizations}
    standing = standing_failures(pipeline.run)
    in_status = {key: each.steps_failing for key, each in said.items() if each.failing or each.steps_failing}
    assert in_status == {each.organization_id: each.error_class for each in standing}
    return [(each.organization_id, str(each.subject), each.error_class) for each in standing]


@contextmanager
def refusing_steps(pipeline: StepPipeline) -> Iterator[None]:
    """Have the database refuse every cell of steps of the tenant."""
    pipeline.analytics.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.organization_id ="
        f" '{pipeline.tenant.organization}' THEN RAISE 'never'; END IF; RETURN new; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_step_metrics"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        pipeline.analytics.execute("DROP FUNCTION refuse CASCADE")
