"""Whoever looks at a dashboard all the time, and remembers what was shown."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg import IsolationLevel

from tests.support.oracle import ALL

PERIODS = ("hour", "day", "week", "month")


class Sight(NamedTuple):
    """What is shown of one organization: how many jobs each period counts, and a checksum of all figures."""

    hour: int
    day: int
    week: int
    month: int
    figures: str


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
            rows = analytics.execute(ONE_PERIOD, {"period": period, "all": ALL})
            for key, total in rows:
                counts[key][period] = int(total)
            time.sleep(0.005)
        figures = {key: sight.figures for key, sight in look(analytics).items()}
    return {
        key: Sight(*(counts[key].get(period, 0) for period in PERIODS), figures.get(key, ""))
        for key in counts.keys() | figures.keys()
    }


class Reader(threading.Thread):
    """Looks again and again, by turns in one statement and closely; `seen` is all that each saw."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._enough = url, threading.Event()
        self.seen: dict[UUID, set[Sight]] = defaultdict(set)
        self.looks = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as one, psycopg.connect(self._url) as other:
                other.isolation_level = IsolationLevel.REPEATABLE_READ
                while not self._enough.is_set():
                    self._remember(look(one))
                    self._remember(look_closely(other))
        except BaseException as failure:
            self.failure = failure

    def stop(self) -> None:
        """Look no more."""
        self._enough.set()
        self.join(timeout=30)
        assert self.failure is None

    def _remember(self, sights: Sights) -> None:
        self.looks += 1
        for key in self.seen.keys() | sights.keys():
            self.seen[key].add(sights.get(key, NOTHING))


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    """Yield a reader at work."""
    reader = Reader(url)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()
