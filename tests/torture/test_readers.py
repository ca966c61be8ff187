"""A reader sees the old figures or the new ones of an organization at any time, and never a hole."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple
from uuid import UUID

import psycopg

from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Run
from pipelines.runs.refresh import rebuild, refresh
from tests.support.faults.history import History
from tests.support.faults.runs import Killed, struck_at
from tests.support.faults.scenarios import damage_facts, reconcile_all
from tests.support.faults.starting_point import Place
from tests.support.oracle import ALL
from tests.support.planting import NOON, plant_job
from tests.torture.conftest import Tell


class Sight(NamedTuple):
    """What is shown of one organization: how many jobs each period counts, and a checksum of all figures."""

    hour: int
    day: int
    week: int
    month: int
    figures: str


PERIODS = Sight._fields[:4]
NOTHING = Sight(0, 0, 0, 0, "")

Sights = dict[UUID, Sight]

_TOTAL = "coalesce(sum(total_executions) FILTER (WHERE total AND period = '{}'), 0)"

AT_ONCE = f"""
SELECT
    organization_id,
    {", ".join(map(_TOTAL.format, PERIODS))},
    md5(string_agg(shown::text, '' ORDER BY period, period_start, workflow_id, client_id, initiator_type))
FROM
    analytics.aggregate_metrics AS shown,
    LATERAL (SELECT workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all') AS of (total)
GROUP BY organization_id
"""

ONE_PERIOD = """
SELECT organization_id, sum(total_executions) FROM analytics.aggregate_metrics
WHERE period = %(period)s AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'
GROUP BY organization_id
"""


def look(analytics: psycopg.Connection) -> Sights:
    """Read everything in one statement."""
    rows = analytics.execute(AT_ONCE, {"all": ALL}).fetchall()
    return {key: Sight(*map(int, counts), figures) for key, *counts, figures in rows}


def look_closely(analytics: psycopg.Connection) -> Sights:
    """Read period by period, in one transaction that sees one moment."""
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    with analytics.transaction():
        for period in PERIODS:
            for key, total in analytics.execute(ONE_PERIOD, {"period": period, "all": ALL}):
                counts[key][period] = int(total)
            time.sleep(0.005)
        figures = {key: sight.figures for key, sight in look(analytics).items()}
    totals = {key: [counts[key].get(period, 0) for period in PERIODS] for key in {*counts, *figures}}
    return {key: Sight(*each, figures.get(key, "")) for key, each in totals.items()}


class Reader:
    """Looks again and again, by turns in one statement and closely; `seen` is all that each saw."""

    def __init__(self) -> None:
        self.seen: dict[UUID, set[Sight]] = defaultdict(set)
        self.looks = 0

    def read(self, url: str, enough: threading.Event) -> None:
        """Look until it is enough."""
        with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url) as other:
            other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not enough.is_set():
                for sights in (look(one), look_closely(other)):
                    self.looks += 1
                    for key in self.seen.keys() | sights.keys():
                        self.seen[key].add(sights.get(key, NOTHING))


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    """Yield a reader at work."""
    reader, enough = Reader(), threading.Event()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(reader.read, url, enough)
        try:
            yield reader
        finally:
            enough.set()
        done.result()


def dawdle(_point: FaultPoint) -> None:
    """Give whoever reads the time to see what is there at each point."""
    time.sleep(0.02)


def test_readers_see_old_or_new_figures_and_nothing_else(history: History, place: Place, tell: Tell) -> None:
    """Through refreshes, reconciles, rebuilds, repairs and kills, in one statement or in several."""
    url = place.databases.analytics_url
    allowed: dict[UUID, set[Sight]] = defaultdict(lambda: {NOTHING})
    refresh(place.run)
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
            refresh(place.run)
            between_runs()
            history.loses_jobs()
            reconcile_all(place.run)
            between_runs()
            for occurrence in range(18, 60, 7):
                for tenant in (history.acme, history.borealis):
                    plant_job(history.source, tenant, completed_at=NOON)
                with struck_at(occurrence), suppress(Killed):
                    refresh(place.run)
                between_runs()
            refresh(place.run)
            between_runs()
            rebuild(Run(*place.by_plan("hour=2 day=1 week=3 month=0")))
            between_runs()
            rebuild(place.run)
            between_runs()
            plant_job(history.source, history.neighbour)
            damage_facts(place)
            refresh(place.run)
            between_runs()

    assert {key: seen - allowed[key] for key, seen in reader.seen.items() if seen - allowed[key]} == {}
    assert all(len(set(sight[:4])) == 1 for seen in reader.seen.values() for sight in seen)
    assert reader.looks > 100
    assert len(reader.seen[history.acme.organization]) >= 6
    tell(f"looks while runs were at work: {reader.looks}, with {sum(map(len, reader.seen.values()))} sights.")
