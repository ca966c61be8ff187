"""Databases for what runs outside of pytest."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.connections import Databases
from pipelines.postgres.migrations import migrate
from pipelines.settings import load_settings
from tests.conftest import UNSAFE_BUT_FAST, with_database
from tests.support.watchdog import discard

_TEMPLATE = "template_of_histories"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that goes with whatever lies and runs in it."""
    folder = Path(tempfile.mkdtemp(prefix="execmetrics-torture-"))
    # The account of an embedded server has to pass through it.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        discard(folder)


@contextmanager
def running_server(home: Path) -> Iterator[str]:
    """Yield the URL of a server of its own, with a migrated template."""
    with embedded_postgres.running(home, options=UNSAFE_BUT_FAST) as url:
        with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {_TEMPLATE}")
        template = with_database(url, _TEMPLATE)
        migrate(Databases(template, template), load_settings(database_url=template, home=home))
        yield url


@contextmanager
def fresh_database(url: str) -> Iterator[Databases]:
    """Yield a migrated database that is source and analytics at once."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE histories TEMPLATE {_TEMPLATE}")
        try:
            both = with_database(url, "histories")
            yield Databases(both, both)
        finally:
            admin.execute("DROP DATABASE histories WITH (FORCE)")
