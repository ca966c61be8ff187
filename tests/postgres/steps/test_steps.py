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
from pipelines.postgres.connections import Run
from pipelines.runs.checks import standing_failures
from pipelines.runs.dry_run import dry_run
from pipelines.runs.refresh import FailedOrganization, reconcile_created, refresh
from pipelines.runs.status import status
from pipelines.settings import Settings
from pipelines.subjects.steps import STEPS
from tests.postgres.steps.conftest import Place
from tests.support.oracle import ALL
from tests.support.planting import DAY, HOUR, NOON, change_job, plant_job, plant_lines

pytestmark = pytest.mark.every_postgres

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
REFUSED = "RaiseException"


@pytest.fixture
def measured(place: Place) -> Place:
    """A tenant in Amsterdam with two jobs of many steps, measured."""
    place.settle("Europe/Amsterdam")
    for workflow in place.tenant.workflows:
        lines = [
            {
                "step_name": ("open", "send", "close")[number % 3],
                "level": ("INFO", "WARN", "ERROR", "FATAL", "TRACE")[number % 5],
                "timestamp": NOON + number * 7 * HOUR,
                "duration_ms": None if number % 11 == 0 else number * 1.7 - 3,
            }
            for number in range(40)
        ]
        place.plant(*lines, workflow_id=workflow)
    place.refresh()
    return place


@pytest.fixture
def patient(place: Place) -> Settings:
    """Settings by which a run may be good although most organizations failed."""
    return place.settings.model_copy(update={"tolerated_failures_pct": 100})


def test_a_step_is_counted_by_how_it_ended(place: Place) -> None:
    """Levels up to INFO completed, WARN warned, ERROR and FATAL failed; a line without a step is none."""
    lines = [{"step_name": "send", "level": level} for level in LEVELS]
    place.plant(*lines, {"level": "ERROR"}, {"step_name": "", "level": "ERROR"})

    report = place.refresh()

    assert report.steps is not None
    (cell,) = place.months("send")
    counts = ("total", "completed", "warned", "failed", "timed")
    assert [cell[f"{name}_executions"] for name in counts] == [6, 3, 1, 2, 0]
    assert (cell["total_duration_ms"], cell["average_duration_ms"]) == (0, None)
    assert [name for *_, name in place.cells()] == ["send"] * 8


def test_a_negative_duration_is_counted_and_not_timed(place: Place) -> None:
    """Figures are of valid durations alone, exact to the microsecond."""
    durations = (-5, None, 0, 0.001, 1.5, 10, 1_000_000.25)
    place.plant(*({"step_name": "open", "duration_ms": each} for each in durations))

    place.refresh()

    (cell,) = place.months("open")
    assert (cell["total_executions"], cell["timed_executions"]) == (7, 5)
    assert cell["total_duration_ms"] == 1_000_011.751
    assert (cell["min_duration_ms"], cell["max_duration_ms"]) == (0, 1_000_000.25)
    assert cell["median_duration_ms"] == 1.5
    assert cell["p90_duration_ms"] == pytest.approx(10 + 0.6 * (1_000_000.25 - 10), rel=1e-12)


def test_whatever_becomes_of_a_line_the_next_refresh_follows(place: Place) -> None:
    """A late or edited line, a soft-deleted or reassigned job change the cells they left and entered."""
    job, other = (plant_job(place.source, place.tenant) for _ in range(2))
    first, second = place.plant(*({"step_name": "send", "duration_ms": ms} for ms in (10, 20)), job=job)
    place.plant({"step_name": "send", "duration_ms": 40}, job=other)
    place.refresh()
    theirs = place.cells(place.neighbour)
    assert place.refresh().steps.cells_written == 0

    place.change_line(first, duration_ms=70)
    place.refresh()
    assert durations(place) == [130]

    place.change_line(second, timestamp=NOON - 40 * DAY)
    place.refresh()
    assert durations(place) == [20, 110]

    change_job(place.source, other, deleted_at=NOON)
    place.refresh()
    assert durations(place) == [20, 70]

    change_job(place.source, job, workflow_id=place.tenant.workflows[1])
    place.refresh()
    assert {workflow for _, _, workflow, _ in place.cells()} == {ALL, place.tenant.workflows[1]}

    place.change_line(first, step_name=None)
    place.change_line(second, step_name="open")
    place.refresh()
    assert {name for *_, name in place.cells()} == {"open"}
    assert place.cells(place.neighbour) == theirs


def durations(place: Place) -> list[float]:
    """How long the step `send` took in each month."""
    return [row["total_duration_ms"] for row in place.months("send")]


def test_a_step_of_the_future_counts_when_its_time_has_come(place: Place) -> None:
    """Nobody writes the line again; the run that finds it due reads it by its timestamp."""
    place.plant({"step_name": "send", "timestamp": datetime.now(UTC) + HOUR})
    too_early = place.refresh(future_tolerance=HOUR / 2)
    nothing = place.cells()
    # As if the first run had been two hours ago.
    place.analytics.execute(
        "UPDATE analytics.watermarks SET extracted_at = extracted_at - interval '2 hours'"
        " WHERE subject = 'steps'"
    )

    place.refresh(future_tolerance=2 * HOUR)

    assert (too_early.steps.not_counted, nothing) == (1, {})
    assert len(place.cells()) == 8


def test_a_source_without_readable_logs_has_no_steps(place: Place) -> None:
    """Another program's source may have no such table, or another one of that name."""
    place.source.execute("DROP TABLE orchestration.execution_logs")
    without = place.refresh()
    place.source.execute("CREATE TABLE orchestration.execution_logs (id text, said text)")
    other = place.refresh()

    assert (without.steps, other.steps) == (None, None)
    assert without.cells_written > 0
    assert place.verify().cells_compared == 0
    watermarks = place.analytics.execute("SELECT FROM analytics.watermarks WHERE subject = 'steps'")
    assert watermarks.fetchall() == []


def test_every_cell_of_steps_is_compared(measured: Place) -> None:
    """All that is stored is what SQL says, and nothing is missing."""
    report = measured.verify()

    stored = len(measured.cells()) + len(measured.cells(measured.neighbour))
    assert report.differences == ()
    assert (report.cells_compared, report.cells_pending) == (stored, 0) == (274, 0)


def test_a_spoilt_missing_or_left_over_cell_is_named(measured: Place) -> None:
    """Each difference says which figure of which step, what is stored and what was expected."""
    mine = {"tenant": measured.tenant.organization, "start": "2024-01-31 23:00Z", "all": ALL}
    table = "analytics.aggregate_step_metrics"
    where = "organization_id = %(tenant)s AND period = 'month' AND period_start = %(start)s"
    more = ", ".join(
        f"{column} = {column} + 1" for column in ("max_duration_ms", "warned_executions", "total_executions")
    )
    for change in (
        f"UPDATE {table} SET {more} WHERE {where} AND step_name = 'open' AND workflow_id = %(all)s",
        f"DELETE FROM {table} WHERE {where} AND step_name = 'send'",
        f"UPDATE {table} SET step_name = 'never' WHERE {where} AND step_name = 'close'",
    ):
        measured.analytics.execute(change, mine)

    report = measured.verify([measured.tenant.organization])

    assert sorted({(each.cell["step_name"], each.column) for each in report.differences}) == [
        ("close", "row"),
        ("never", "row"),
        ("open", "max_duration_ms"),
        ("open", "total_executions"),
        ("open", "warned_executions"),
        ("send", "row"),
    ]
    assert {each.organization_id for each in report.differences} == {measured.tenant.organization}


def test_what_was_written_since_waits(measured: Place) -> None:
    """A new or an edited line, a reassigned job and a move make cells wait; the next refresh settles them.

    Days, weeks and months of an organization that moves begin where those of its jobs do.
    """
    job = plant_job(measured.source, measured.tenant)
    (line,) = measured.plant({"step_name": "open", "timestamp": NOON + 3 * DAY}, job=job)
    waiting = [measured.verify()]
    measured.refresh()
    measured.change_line(line, level="FATAL")
    waiting.append(measured.verify())
    measured.refresh()
    change_job(measured.source, job, workflow_id=measured.tenant.workflows[1])
    waiting.append(measured.verify())
    measured.refresh()
    waiting.append(measured.verify())
    measured.settle("America/New_York")
    moves = measured.verify()
    moved = measured.refresh()
    settled = measured.verify()

    assert [report.cells_pending for report in waiting] == [8, 8, 12, 0]
    assert [report.differences for report in (*waiting, moves, settled)] == [()] * 6
    assert moved.steps.cells_written > 0
    assert settled.cells_pending == 0


def test_who_failed_is_named_and_then_made_good_alone(place: Place, patient: Settings) -> None:
    """It is cleared by success; where the feed is lost, who lags is computed as a whole and nobody else."""
    for each in (place.tenant, place.neighbour):
        plant_lines(place.source, each, plant_job(place.source, each), [{"step_name": "late"}])
    refresh(place.databases, patient)
    place.source.execute("UPDATE orchestration.execution_logs SET level = 'ERROR' WHERE step_name = 'late'")
    mine = place.tenant.organization

    with refusing_steps(place):
        report = refresh(place.databases, patient)
        standing = failing(place, patient)
        with pytest.raises(TooManyFailures, match=f"steps of 1 of 2: {mine} {REFUSED}"):
            place.refresh()
    for file in (Path(patient.step_facts_location) / "_change_data").rglob("*.parquet"):
        file.unlink()
    job = plant_job(place.source, place.neighbour)
    plant_lines(place.source, place.neighbour, job, [{"step_name": "new"}])
    mended = refresh(place.databases, patient)

    assert (report.failed, report.steps.failed) == ((), (FailedOrganization(mine, REFUSED),))
    assert standing == [(mine, "steps", REFUSED)]
    assert failing(place, patient) == []
    assert mended.steps.cells_computed == len(place.cells()) + 8
    assert place.verify().differences == ()


def test_guarded_deletes_of_steps_stand_until_they_are_accepted(place: Place, patient: Settings) -> None:
    """A refresh between two reconciles forgives nothing; a dry run tells of them, and of other changes."""
    lines = place.plant(*[{"step_name": "send"}] * 1_200)
    refresh(place.databases, patient)
    place.source.execute("DELETE FROM orchestration.execution_logs WHERE id = ANY(%s)", [lines[:1_100]])
    mine = place.tenant.organization
    named = [(mine, "steps", "DeletesNotAccepted")]

    guarded = reconcile_created(place.databases, patient)
    first = failing(place, patient)
    refresh(place.databases, patient)
    refreshed = failing(place, patient)
    place.change_line(lines[-1], step_name="open")
    version = open_facts(patient, STEPS.fact).version
    (proposed,) = dry_run(place.databases, patient, since=NOON - DAY, until=NOON + DAY)
    unchanged = open_facts(patient, STEPS.fact).version == version
    accepted = reconcile_created(place.databases, patient, accept_deletes=True)

    assert guarded.steps.failed == (FailedOrganization(mine, "DeletesNotAccepted"),)
    assert (first, refreshed) == (named, named)
    assert (proposed.organization_id, proposed.jobs.cells) == (mine, 0)
    assert (proposed.steps.rows, proposed.steps.deletes_guarded, unchanged) == (1, 1_100, True)
    assert (accepted.steps.facts_deleted, failing(place, patient)) == (1_100, [])
    assert place.verify().differences == ()


def failing(place: Place, settings: Settings) -> list[tuple[object, str, str]]:
    """What stands as broken, and is in the status too."""
    said = {each.organization_id: each for each in status(place.databases, settings).organizations}
    standing = standing_failures(Run(place.databases, settings))
    in_status = {key: each.steps_failing for key, each in said.items() if each.failing or each.steps_failing}
    assert in_status == {each.organization_id: each.error_class for each in standing}
    return [(each.organization_id, str(each.subject), each.error_class) for each in standing]


@contextmanager
def refusing_steps(place: Place) -> Iterator[None]:
    """Have the database refuse every cell of steps of the tenant."""
    place.analytics.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.organization_id ="
        f" '{place.tenant.organization}' THEN RAISE 'never'; END IF; RETURN new; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON analytics.aggregate_step_metrics"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        place.analytics.execute("DROP FUNCTION refuse CASCADE")
