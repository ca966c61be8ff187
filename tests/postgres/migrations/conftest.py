"""Databases that nobody has migrated yet."""

from functools import partial
from pathlib import Path

import pytest

from pipelines.postgres.connections import Databases
from pipelines.settings import Settings, load_settings
from tests.conftest import CreateDatabase


@pytest.fixture
def create_bare_database(create_database: CreateDatabase) -> CreateDatabase:
    """A function that makes an empty database and gives its URL."""
    return partial(create_database, "template0")


@pytest.fixture
def bare(create_bare_database: CreateDatabase) -> Databases:
    """One empty database for source and analytics."""
    url = create_bare_database()
    return Databases(url, url)


@pytest.fixture
def patience(tmp_path: Path) -> Settings:
    """Settings that wait no longer than a second for another migration."""
    return load_settings(home=tmp_path, lock_timeout=1)
