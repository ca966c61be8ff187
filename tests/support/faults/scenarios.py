"""What may be cut off: each kind of run, with something to do."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg

from pipelines.extract.request import Request
from pipelines.fault_points import FaultPoint
from pipelines.postgres.connections import Run
from pipelines.runs.audit import audit
from pipelines.runs.maintenance import retain, tidy_facts
from pipelines.runs.refresh import extract_changes, rebuild, reconcile, refresh
from tests.support.faults.history import SINCE, UNTIL, History
from tests.support.faults.starting_point import Place
from tests.support.oracle import ALL

UseCase = Callable[[Run], object]

# With a checksum comparison.
reconcile_all = partial(reconcile, since=SINCE, until=UNTIL)


def tidy_at_once(run: Run) -> object:
    """Give up what is not published, as if it were a week old, and merge files."""
    impatient = run.settings.model_copy(update={"feed_retention": timedelta(milliseconds=1)})
    return tidy_facts(replace(run, settings=impatient))


def retain_later(run: Run) -> object:
    """Let go of what will be too old in some years."""
    return retain(run, now=datetime.now(UTC) + timedelta(days=3_000))


@dataclass(frozen=True)
class Scenario:
    """What happens after the first refresh, the run that is cut off then, and the one that heals it."""

    happens: Callable[[History, Place], object]
    run: UseCase
    heal: UseCase = refresh
    # The points that no other kind of run passes.
    alone_passes: frozenset[FaultPoint] = frozenset()
    # How cells were computed before, if not as they are now.
    plan_before: str | None = None

    def prepared(self, history: History, place: Place) -> None:
        """Bring a place to where the run begins."""
        before = place.by_plan(self.plan_before) if self.plan_before else place
        assert refresh(Run(*before)).failed == ()
        self.happens(history, place)


def nothing(_history: History, _place: Place) -> None:
    """Let nothing happen."""


def goes_on(history: History, _place: Place) -> None:
    """Let all that happens which a refresh follows."""
    history.goes_on()


def loses_jobs(history: History, _place: Place) -> None:
    """And let jobs go that only a checksum comparison misses."""
    history.goes_on()
    history.loses_jobs()


def facts_are_damaged(history: History, place: Place) -> None:
    """And cut the largest of the facts' files short."""
    history.goes_on()
    damage_facts(place)


def damage_facts(place: Place) -> None:
    """Cut the largest of the facts' files short."""
    files = Path(place.settings.facts_location).glob("created_date=*/*.parquet")
    largest = max(files, key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def cells_are_damaged(_history: History, place: Place) -> None:
    """Change cells by hand, and delete some."""
    with psycopg.connect(place.databases.analytics_url) as analytics:
        analytics.execute(
            "UPDATE analytics.aggregate_metrics SET total_executions = total_executions + 1,"
            " failed_executions = failed_executions + 1 WHERE period = 'hour' AND workflow_id <> %s",
            [ALL],
        )
        some = "period = 'week' AND client_id = %s"
        analytics.execute(f"DELETE FROM analytics.aggregate_metrics WHERE {some}", [ALL])


def cells_were_restated(history: History, place: Place) -> None:
    """Let all that happens be published, and restate what was."""
    history.goes_on()
    refresh(place.run)


def facts_are_ahead(history: History, place: Place) -> None:
    """Bring the facts up to date, and publish nothing."""
    history.goes_on()
    extract_changes(place.run, Request())


SCENARIOS = {
    "refresh": Scenario(goes_on, refresh, alone_passes=frozenset({FaultPoint.CENSUS_READ})),
    "refresh of damaged facts": Scenario(
        facts_are_damaged, refresh, alone_passes=frozenset({FaultPoint.FACTS_SET_ASIDE})
    ),
    "rebuild": Scenario(
        *(nothing, rebuild, refresh, frozenset({FaultPoint.REBUILD_SETTLED})),
        plan_before="hour=0 day=3 week=1 month=2",
    ),
    "audit": Scenario(cells_are_damaged, audit, heal=audit),
    "tidying": Scenario(facts_are_ahead, tidy_at_once),
    "retention": Scenario(cells_were_restated, retain_later),
}

# All that is left: a point that is new has to be passed by a reconcile, or be named above.
_LEFT = frozenset(FaultPoint).difference(*(each.alone_passes for each in SCENARIOS.values()))
SCENARIOS["reconcile"] = Scenario(loses_jobs, reconcile_all, heal=reconcile_all, alone_passes=_LEFT)
