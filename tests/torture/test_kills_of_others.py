"""The same for the runs that repair, compute anew and tidy up."""

import pytest

from tests.support.faults.cutting_off import cut_off
from tests.support.faults.history import History
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.torture.conftest import Tell


@pytest.fixture(autouse=True)
def few_jobs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild of so little takes more than one transaction."""
    monkeypatch.setattr("pipelines.publish.recompute.CHUNK_ROWS", 10)


@pytest.mark.parametrize(
    ("kind", "every", "states"),
    [
        ("rebuild", 2, 3),
        ("refresh of damaged facts", 16, 4),
        ("audit", 1, 2),
        ("tidying", 3, 2),
        ("retention", 1, 2),
    ],
)
def test_another_run_may_be_cut_off_at_any_point(
    kind: str, every: int, states: int, history: History, place: Place, tell: Tell
) -> None:
    """At every point that it passes, and in the long form at every occurrence."""
    kills = cut_off(SCENARIOS[kind], history, place, every=every)

    tell(f"{kind}: {kills}.")
    assert kills.states >= states
