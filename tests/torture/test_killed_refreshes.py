"""What a reconcile is and more, cut off by itself: a file of its own, so that workers share the long form."""

import pytest

from tests.support.faults.cutting_off import cut_off
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.torture.conftest import Tell


@pytest.mark.only_in_everything
def test_a_refresh_may_be_cut_off_at_any_point(history: History, place: Place, tell: Tell) -> None:
    """With every kind of change under way; a sample cuts off a reconcile, which is a refresh and more."""
    kills = cut_off(SCENARIOS["refresh"], history, place)

    tell(f"refresh: {kills}.")
    assert kills.states >= 5
