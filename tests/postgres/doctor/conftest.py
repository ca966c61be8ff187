"""A database as Prisma makes one, its owner, and a role that is to read it."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import Connection

from pipelines.cli.main import main
from pipelines.postgres.connections import Databases
from pipelines.settings import Settings
from tests.conftest import CreateDatabase, with_database, with_user
from tests.postgres.cli.conftest import Ended
from tests.support.places import ROOT
from tests.support.prisma_application import statements_of

SCHEMA = ROOT / "tests/support/prisma_schema.sql"

Doctor = Callable[..., Ended]
Mend = Callable[..., None]


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
def doctor(
    databases: Databases,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    """A function that carries out `execmetrics doctor` as the reader."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", databases.analytics_url)
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", databases.source_url)
    monkeypatch.setenv("EXECMETRICS_HOME", str(settings.home))

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        exit_code = main(["doctor", *arguments])
        printed = capsys.readouterr()
        return Ended(exit_code, printed.out, printed.err)

    return call


@pytest.fixture
def mend(doctor: Doctor, source: Connection) -> Mend:
    """A function that has the owner run what `execmetrics doctor --sql` prints, as it is printed."""

    def run(*arguments: str) -> None:
        for statement in statements_of(doctor("--sql", *arguments).stdout):
            source.execute(statement)

    return run
