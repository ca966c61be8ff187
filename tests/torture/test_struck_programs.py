"""A program that is killed with signal 9, or whose disks are full; the next run heals."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pipelines.errors import DatabaseExhausted
from pipelines.facts.fact_table import FactsNotWritten
from pipelines.fault_points import FaultPoint
from pipelines.runs.refresh import refresh
from tests.support.faults.cutting_off import prepared
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.support.places import ROOT
from tests.support.sampling import EVERYTHING
from tests.torture.conftest import Tell

PROGRAM = ROOT / "tests/support/faults/struck_program.py"
REFRESH = SCENARIOS["refresh"]

# Which occurrence of which point, in the short form.
KILLS = [(FaultPoint.AFTER_FACTS_COMMIT, 0), (FaultPoint.BEFORE_COMMIT, 1)]


def test_a_killed_program_leaves_nothing_half_done(history: History, place: Place, tell: Tell) -> None:
    """Nothing of it cleans up: neither a lock nor a transaction nor half a commit of facts is left."""
    points, beginning, witness = prepared(REFRESH, history, place)
    chosen = range(len(points)) if EVERYTHING else [occurrence_of(points, *kill) for kill in KILLS]
    for occurrence in chosen:
        beginning.again()

        ended = struck(place, "killed", occurrence)

        assert (ended.returncode, ended.stdout, ended.stderr) == (-9, "", "")
        witness.sees_before_or_after()
        witness.sees_it_heal()
    tell(f"programs killed with signal 9: {len(chosen)}.")


def test_facts_for_which_there_is_no_room(history: History, place: Place) -> None:
    """Neither half a file nor half a commit counts, and the message says what is missing."""
    points, beginning, witness = prepared(REFRESH, history, place)
    before_commit = occurrence_of(points, FaultPoint.BEFORE_FACTS_COMMIT, 0)
    for size in [0, 1_500, 5_000] if EVERYTHING else [1_500]:
        beginning.again()
        assert_no_room(place, before_commit, size)
        assert witness.sees_before_or_after() == witness.before
        witness.sees_it_heal()
    beginning.again()

    # The facts of steps, after the jobs are published, cannot be written.
    assert_no_room(place, occurrence_of(points, FaultPoint.AFTER_FACTS_COMMIT, 0), 0)

    assert witness.sees_before_or_after() == witness.after
    witness.sees_it_heal(thoroughly=True)


def test_a_backlog_for_which_there_is_no_room(history: History, place: Place) -> None:
    """What does not fit into memory waits in files; without room for them nothing is changed."""
    history.has_a_backlog(120_000)
    points, beginning, witness = prepared(REFRESH, history, place)
    beginning.again()

    assert_no_room(place, occurrence_of(points, FaultPoint.SNAPSHOT_OPENED, 0), 10_000)

    assert witness.sees_before_or_after() == witness.before
    witness.sees_it_heal()


def test_a_database_without_room(history: History, place: Place) -> None:
    """It concerns everybody, so nobody is blamed: what was committed before stays, and the rest waits."""
    _, beginning, witness = prepared(REFRESH, history, place)
    beginning.again()

    with without_room_for(history, place), pytest.raises(DatabaseExhausted):
        refresh(place.run)

    assert witness.sees_before_or_after() not in (witness.before, witness.after)
    witness.sees_it_heal()


def occurrence_of(points: list[FaultPoint], point: FaultPoint, number: int) -> int:
    """Which of all points is this one when it is passed for that time, counted from 0."""
    return [at for at, passed in enumerate(points) if passed is point][number]


def struck(place: Place, happens: str, at: int, size: int = 0) -> subprocess.CompletedProcess[str]:
    """Refresh in a process of its own, and let something happen to it at a point."""
    environment = os.environ | {
        "EXECMETRICS_DATABASE_URL": place.databases.analytics_url,
        "EXECMETRICS_SOURCE_URL": place.databases.source_url,
        "EXECMETRICS_HOME": str(place.settings.home),
        "EXECMETRICS_BATCH_ORGANIZATIONS": str(place.settings.batch_organizations),
        "EXECMETRICS_TOLERATED_FAILURES_PCT": str(place.settings.tolerated_failures_pct),
    }
    command = [sys.executable, PROGRAM, happens, str(at), str(size), "refresh"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def assert_no_room(place: Place, at: int, size: int) -> None:
    """A refresh fails whose files may grow no more at a point, and its last words are ours.

    A library may have complained before it, but no line of our code is shown.
    """
    ended = struck(place, "full", at, size)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(str(FactsNotWritten()))
    assert "Traceback" not in ended.stderr
    assert ".py" not in ended.stderr


@contextmanager
def without_room_for(history: History, place: Place) -> Iterator[None]:
    """Have the database say that its disk is full when cells of Acme are written."""
    with psycopg.connect(place.databases.analytics_url, autocommit=True) as analytics:
        analytics.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF new.organization_id = '{history.acme.organization}' THEN RAISE EXCEPTION"
            " 'could not extend file' USING ERRCODE = 'disk_full'; END IF; RETURN new; END $$;"
            " CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON analytics.aggregate_metrics"
            " FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
        try:
            yield
        finally:
            analytics.execute("DROP FUNCTION no_room CASCADE")
