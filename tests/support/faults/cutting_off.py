"""Cutting a run off at each of its points, and looking at what each organization is left with."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Run
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from tests.support.faults.history import History
from tests.support.faults.runs import Killed, struck_at
from tests.support.faults.scenarios import Scenario
from tests.support.faults.starting_point import Place, Published, StartingPoint, by_organization
from tests.support.oracle import differences
from tests.support.planting import cells
from tests.support.sampling import EVERYTHING


@dataclass(frozen=True)
class CutOff:
    """How often a run was cut off, at which points, and how many different states that left to heal."""

    fired: Counter[FaultPoint]
    states: int

    def __str__(self) -> str:
        return f"{self.fired.total()} kills at {len(self.fired)} points, healed from {self.states} states"


class Witness:
    """Knows how each organization was and is to be, and whether what it sees is one of the two."""

    def __init__(self, scenario: Scenario, history: History, place: Place) -> None:
        self._scenario, self._place = scenario, place
        self._rows = place.published()
        # One that changes hands is published with its former owner.
        owned = [*self._rows["workflows"], *self._rows["clients"]]
        self._owners = history.owners() | {row["id"]: row["organization_id"] for row in owned}
        self._expected = history.cells()
        self._in_no_zone = history.in_no_zone()
        self.before = self.after = self._published()
        # What was committed by each point that the run passed.
        self.committed: list[Any] = []

    def sees_the_end(self) -> None:
        """Remember how it is to be: different for most."""
        self.after = self._published()

    def sees_before_or_after(self) -> Published:
        """Look at all that is published, and return it."""
        now = self._published()
        for key in self.before.keys() | self.after.keys() | now.keys():
            assert now.get(key) in (self.before.get(key), self.after.get(key)), f"{key} is neither"
        return now

    def sees_it_heal(self, *, thoroughly: bool = EVERYTHING) -> None:
        """After one more run every cell is right, and after that there is nothing left to do."""
        self._scenario.heal(Run(*self._place))
        with psycopg.connect(self._place.databases.analytics_url) as analytics:
            stored = {key: cell for key, cell in cells(analytics).items() if key[0] != self._in_no_zone}
        assert differences(stored, self._expected) == []
        if not thoroughly:
            return
        verified = verify(self._place.run, organization_ids=sorted({key[0] for key in self._expected}))
        assert (verified.differences, verified.steps.differences) == ((), ())
        again = refresh(Run(*self._place))
        written = [(each.cells_written, each.cells_deleted) for each in (again, again.steps)]
        assert written == [(0, 0)] * 2

    def _published(self) -> Published:
        return by_organization(self._place.published(), self._rows, self._owners)


def prepared(
    scenario: Scenario, history: History, place: Place
) -> tuple[list[FaultPoint], StartingPoint, Witness]:
    """Bring a place to where a run begins; give what the run passes, and who knows how it is to be after."""
    scenario.prepared(history, place)
    beginning, witness = StartingPoint(place), Witness(scenario, history, place)
    points: list[FaultPoint] = []
    with psycopg.connect(place.databases.analytics_url, autocommit=True) as analytics:

        def watch(point: FaultPoint) -> None:
            points.append(point)
            rows = analytics.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
            witness.committed.append((rows, sorted(place.settings.home.rglob("*.json"))))

        with watched_by(watch):
            scenario.run(place.run)
    witness.sees_the_end()
    return points, beginning, witness


def cut_off(scenario: Scenario, history: History, place: Place) -> CutOff:
    """Cut the scenario's run off at each point that it passes, from the same state each time.

    In a sample, once between any two commits: at the last point, where most of the work is under way.
    """
    points, beginning, witness = prepared(scenario, history, place)
    committed = witness.committed
    fired: Counter[FaultPoint] = Counter()
    healed: list[Any] = []
    for occurrence, point in enumerate(points):
        if not EVERYTHING and committed[occurrence] in committed[occurrence + 1 :]:
            continue
        beginning.again()
        with struck_at(occurrence) as passed, pytest.raises(Killed):
            scenario.run(place.run)
        assert passed == points[: occurrence + 1]
        fired[point] += 1
        left = witness.sees_before_or_after(), place.facts()
        # In a sample, what several kills left behind is healed once if it is the very same.
        if EVERYTHING or left not in healed:
            # The second state is the first in which a part is done.
            witness.sees_it_heal(thoroughly=EVERYTHING or len(healed) == 1)
            healed.append(left)
    assert witness.before != witness.after
    assert {*points} >= scenario.alone_passes
    return CutOff(fired, len(healed))
