"""The pipeline of a test, in one object."""

import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases
from pipelines.settings import Settings
from tests.support.pipeline import Pipeline


@pytest.fixture
def pipeline(databases: Databases, settings: Settings, source: Connection, analytics: Connection) -> Pipeline:
    """What a test plants in, runs and looks at."""
    return Pipeline(databases, settings, source, analytics)
