"""A wire that is cut at a statement: nobody guesses what became of it, and the next run heals."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipelines.errors import CommitUnknown, DatabaseUnreachable, ExecutionMetricsError
from pipelines.runs.refresh import refresh
from tests.support.faults.cutting_off import prepared
from tests.support.faults.history import History
from tests.support.faults.runs import recorded
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.support.faults.wires import Cut, Rule, Wire, laid
from tests.support.sampling import EVERYTHING
from tests.torture.conftest import Tell

REFRESH = SCENARIOS["refresh"]


@pytest.fixture
def analytics_wire(place: Place) -> Iterator[Wire]:
    """A wire to the aggregates."""
    with laid(place.databases.analytics_url) as wire:
        yield wire


def test_a_lost_answer_to_a_commit_is_looked_up(history: History, place: Place, analytics_wire: Wire) -> None:
    """The pass goes on as if the answer had come, and does nothing twice."""
    undisturbed, beginning, witness = prepared(REFRESH, history, place)
    beginning.again()
    reference = refresh(place.run)
    for number in range(2):
        beginning.again()
        analytics_wire.told(Rule(number, Cut.AFTER, only_publications=True))

        with recorded() as points:
            report = refresh(by_way_of(analytics_wire, place).run)

        assert analytics_wire.told().cuts == 1
        assert points == undisturbed
        assert replace(report, seconds={}) == replace(reference, seconds={})
        assert witness.sees_before_or_after() == witness.after
    witness.sees_it_heal(thoroughly=True)


def test_a_commit_that_never_arrived_is_not_taken_for_made(
    history: History, place: Place, analytics_wire: Wire
) -> None:
    """The run says that the database does not answer; what it had published before stays published."""
    _, beginning, witness = prepared(REFRESH, history, place)
    for number in range(2):
        beginning.again()
        analytics_wire.told(Rule(number, Cut.BEFORE, only_publications=True))

        with pytest.raises(DatabaseUnreachable):
            refresh(by_way_of(analytics_wire, place).run)

        assert analytics_wire.told().cuts == 1
        left = witness.sees_before_or_after()
        assert sum(left.get(key) != witness.before.get(key) for key in witness.after) == 2 * number
    witness.sees_it_heal(thoroughly=True)


def test_a_commit_that_nobody_can_be_asked_about_is_called_unknown(
    history: History, place: Place, analytics_wire: Wire
) -> None:
    """When the server cannot be reached to look, the message says so, and the next run finds out."""
    _, beginning, witness = prepared(REFRESH, history, place)
    beginning.again()
    analytics_wire.told(Rule(0, Cut.AFTER, only_publications=True, then_refuse=True))

    with pytest.raises(CommitUnknown):
        refresh(by_way_of(analytics_wire, place).run)

    assert analytics_wire.told().cuts == 1
    assert witness.sees_before_or_after() not in (witness.before, witness.after)
    witness.sees_it_heal()


def test_a_wire_may_be_cut_at_any_statement(history: History, place: Place, tell: Tell) -> None:
    """A sentence or success; for each organization before or after; and the next run heals."""
    _, beginning, witness = prepared(REFRESH, history, place)
    for side in ("analytics_url", "source_url"):
        with laid(getattr(place.databases, side)) as wire:
            wired = by_way_of(wire, place, side)
            # The first one connects to a server that its process does not know yet, which takes a statement.
            for _ in range(2):
                beginning.again()
                wire.told()
                refresh(wired.run)
            statements = wire.told().statements
            for cut in Cut:
                ended: Counter[str] = Counter()
                for number in range(statements) if EVERYTHING else [statements // 2]:
                    beginning.again()
                    wire.told(Rule(number, cut))
                    try:
                        report = refresh(wired.run)
                        failed = [each.organization_id for each in report.failed]
                        assert failed == [history.troubled.organization]
                        ended["success"] += 1
                    except ExecutionMetricsError as failure:
                        ended[type(failure).__name__] += 1
                    assert wire.told().cuts == 1
                    witness.sees_before_or_after()
                    witness.sees_it_heal()
                tell(f"{side} cut at {ended.total()} of {statements} statements, {cut} each: {dict(ended)}.")


def by_way_of(wire: Wire, place: Place, side: str = "analytics_url") -> Place:
    """A place with a wire to one of its databases."""
    return place._replace(databases=replace(place.databases, **{side: wire.url}))
