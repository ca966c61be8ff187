"""A database as Prisma makes one, its owner, and a role that is to read it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases
from tests.conftest import CreateDatabase, with_database, with_user
from tests.postgres.cli import conftest as cli
from tests.support.places import ROOT
from tests.support.prisma_application import statements_of

SCHEMA = ROOT / "tests/support/prisma_schema.sql"

Doctor = Callable[..., cli.Ended]
Mend = Callable[..., None]

# The fixture of the command line's own tests.
execmetrics = cli.execmetrics


@pytest.fixture
def source(create_database: CreateDatabase) -> Iterator[Connection]:
    """A connection of the owner's, who has migrated the application's schema and nothing else."""
    with psycopg.connect(create_database("template1"), autocommit=True) as owner:
        owner.execute(SCHEMA.read_text("utf-8"))
        yield owner


@pytest.fixture
def reader(server: str, source: Connection) -> Iterator[str]:
    """A role that may connect to the source, and nothing else."""
    role = f"reader of {source.info.dbname}"
    source.execute(f'CREATE ROLE "{role}" LOGIN')
    source.execute(f'GRANT "{role}" TO CURRENT_USER')
    yield role
    source.execute(f'DROP OWNED BY "{role}"')
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'DROP ROLE "{role}"')


@pytest.fixture
def databases(server: str, source: Connection, reader: str) -> Databases:
    """The source alone as the reader sees it, which is all that doctor looks at."""
    url = with_user(with_database(server, source.info.dbname), reader)
    return Databases(url, url)


@pytest.fixture
def doctor(execmetrics: cli.Execmetrics) -> Doctor:
    """A function that carries out `execmetrics doctor` as the reader."""
    return partial(execmetrics, "doctor")


@pytest.fixture
def mend(doctor: Doctor, source: Connection) -> Mend:
    """A function that has the owner run what `execmetrics doctor --sql` prints, as it is printed."""

    def run(*arguments: str) -> None:
        for statement in statements_of(doctor("--sql", *arguments).stdout):
            source.execute(statement)

    return run


def found(ended: cli.Ended) -> dict[str, Any]:
    """What `execmetrics doctor --json` found, by what it is."""
    return {finding["what"]: finding for finding in ended.document["findings"]}
