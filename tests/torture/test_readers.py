"""Whoever reads throughout sees the old figures or the new ones of an organization, and never a hole."""

import time
from collections import defaultdict
from contextlib import suppress
from uuid import UUID

import psycopg

from pipelines.fault_points import FaultPoint, watched_by
from pipelines.runs.refresh import rebuild
from pipelines.settings import load_settings
from tests.support.faults.history import History
from tests.support.faults.readers import NOTHING, Sight, look, reading
from tests.support.faults.runs import Killed, struck_at
from tests.support.faults.scenarios import damage_facts, reconciles, refreshes
from tests.support.faults.starting_point import Place
from tests.support.planting import NOON, plant_job
from tests.torture.conftest import Tell

KILLS = range(18, 60, 7)


def dawdle(_point: FaultPoint) -> None:
    """Give whoever reads the time to see what is there at each point."""
    time.sleep(0.02)


def test_readers_see_old_or_new_figures_and_nothing_else(history: History, place: Place, tell: Tell) -> None:
    """Through refreshes, reconciles, rebuilds, repairs and kills, in one statement or in several."""
    url = place.databases.analytics_url
    allowed: dict[UUID, set[Sight]] = defaultdict(lambda: {NOTHING})
    refreshes(place)
    with psycopg.connect(url, autocommit=True) as analytics, watched_by(dawdle):
        before = look(analytics)

        def between_runs() -> None:
            for key, sight in look(analytics).items():
                allowed[key].add(sight)

        between_runs()
        for key in before:
            allowed[key].discard(NOTHING)
        with reading(url) as reader:
            history.goes_on()
            refreshes(place)
            between_runs()
            history.loses_jobs()
            reconciles(place)
            between_runs()
            for occurrence in KILLS:
                plant_job(history.source, history.acme, completed_at=NOON)
                plant_job(history.source, history.borealis, completed_at=NOON)
                with struck_at(occurrence), suppress(Killed):
                    refreshes(place)
                between_runs()
            refreshes(place)
            between_runs()
            other_plan = load_settings(rollup_plan="hour=2 day=1 week=3 month=0").rollup_plan
            rebuild(place.databases, place.settings.model_copy(update={"rollup_plan": other_plan}))
            between_runs()
            rebuild(place.databases, place.settings)
            between_runs()
            plant_job(history.source, history.neighbour)
            damage_facts(place)
            refreshes(place)
            between_runs()

    assert {key: seen - allowed[key] for key, seen in reader.seen.items() if seen - allowed[key]} == {}
    assert all(len(set(sight[:4])) == 1 for seen in reader.seen.values() for sight in seen)
    assert reader.looks > 100
    assert len(reader.seen[history.acme.organization]) >= 6
    tell(f"looks while runs were at work: {reader.looks}, with {sum(map(len, reader.seen.values()))} sights.")
