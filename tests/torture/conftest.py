"""A history in a source of its own, and a place for its aggregates."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.settings import load_settings
from tests.conftest import CreateDatabase
from tests.support.faults.history import History
from tests.support.faults.starting_point import Place

Tell = Callable[[str], None]


@pytest.fixture
def history(create_database: CreateDatabase) -> Iterator[History]:
    """Organizations that have begun to work."""
    url = create_database()
    with psycopg.connect(url, autocommit=True) as source:
        yield History.begun(url, source)


@pytest.fixture
def place(history: History, create_database: CreateDatabase, tmp_path: Path) -> Place:
    """Where nothing of it has been published yet; organizations are published two at a time."""
    settings = load_settings(home=tmp_path / "home", batch_organizations=2, tolerated_failures_pct=100)
    return Place(Databases(create_database(), history.url), settings)


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Tell:
    """A function that says a line to whoever runs the tests, whatever is captured."""

    def say(line: str) -> None:
        with capfd.disabled():
            sys.stderr.write(f"\n{line}\n")

    return say
