"""Databases that nobody has migrated yet."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from pipelines.settings import Settings, load_settings
from pipelines.storage.database import Databases
from tests.conftest import with_database

CreateBareDatabase = Callable[[], str]

_numbers = count()


@pytest.fixture
def create_bare_database(server: str) -> Iterator[CreateBareDatabase]:
    """A function that makes an empty database and gives its URL."""
    made: list[str] = []

    def create() -> str:
        name = f"bare_{next(_numbers)}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        made.append(name)
        return with_database(server, name)

    yield create
    with psycopg.connect(server, autocommit=True) as admin:
        for name in made:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def bare(create_bare_database: CreateBareDatabase) -> Databases:
    """One empty database for source and analytics."""
    url = create_bare_database()
    return Databases(url, url)


@pytest.fixture
def patience(tmp_path: Path) -> Settings:
    """Settings that wait no longer than a second for another migration."""
    return load_settings(home=tmp_path, lock_timeout=1)
