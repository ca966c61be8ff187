"""A refresh that is cut off; a file beside that of other runs, so that two workers share the long form."""

import pytest

from tests.support.faults.cutting_off import cut_off
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.torture.conftest import Tell


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        # A reconcile is a refresh and more, which in a sample is cut off for both.
        pytest.param("refresh", 5, marks=pytest.mark.only_in_everything),
        ("refresh of damaged facts", 4),
    ],
)
def test_a_refresh_may_be_cut_off_at_any_point(
    kind: str, states: int, history: History, place: Place, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every kind of change under way, of facts that are whole and of damaged ones."""
    if kind == "refresh of damaged facts":
        # A rebuild of so little takes more than one transaction.
        monkeypatch.setattr("pipelines.publish.recompute.CHUNK_ROWS", 10)

    kills = cut_off(SCENARIOS[kind], history, place)

    tell(f"{kind}: {kills}.")
    assert kills.states >= states
