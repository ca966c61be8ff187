"""A pass that is cut off leaves each organization as it was or as it was to be, and one more heals."""

import pytest

from tests.support.faults.cutting_off import cut_off
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.support.sampling import EVERYTHING
from tests.torture.conftest import Tell

# A reconcile is a refresh and more, which in a sample is cut off for both.
ALL_POINTS = ["reconcile", *(["refresh"] if EVERYTHING else [])]


@pytest.mark.parametrize("kind", ALL_POINTS)
def test_a_pass_may_be_cut_off_at_any_point(kind: str, history: History, place: Place, tell: Tell) -> None:
    """At every point that the code names, with every kind of change under way."""
    kills = cut_off(SCENARIOS[kind], history, place, every=16)

    tell(f"{kind}: {kills}.")
    assert len(kills.fired) > 30
    assert kills.states >= 5
