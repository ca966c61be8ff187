"""A run that is cut off leaves each organization as it was or as it was to be, and one more heals."""

import pytest

from tests.support.faults.cutting_off import cut_off
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.torture.conftest import Tell


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("reconcile", 5),
        ("rebuild", 3),
        ("audit", 2),
        ("tidying", 2),
        ("retention", 2),
    ],
)
def test_a_run_may_be_cut_off_at_any_point(
    kind: str, states: int, history: History, place: Place, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every kind of change under way, and in the long form at every point that the run passes."""
    if kind != "reconcile":
        # A rebuild of so little takes more than one transaction.
        monkeypatch.setattr("pipelines.publish.recompute.CHUNK_ROWS", 10)

    kills = cut_off(SCENARIOS[kind], history, place)

    tell(f"{kind}: {kills}.")
    assert kills.states >= states
