"""How many statements a pass sends is decided by its stages, not by how many organizations there are."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.settings import load_settings
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, MINUTE, NOON, Tenant
from tests.support.sampling import EVERYTHING

# What the server writes for a simple and for a prepared statement; its log is the honest witness.
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): ")

FEW, MANY = 2, 60 if EVERYTHING else 20


@pytest.mark.parametrize("side", ["source", "analytics"])
def test_more_organizations_send_no_more_statements(
    side: str, create_database: Callable[[], str], tmp_path: Path
) -> None:
    """Many organizations cost what 2 cost: at first, when all changed, when none did, in a reconcile."""
    few = statements_of_four_passes(side, FEW, create_database, tmp_path / "few")
    many = statements_of_four_passes(side, MANY, create_database, tmp_path / "many")

    assert all(few.values()), "the log was read"
    assert many == few


def test_a_statement_for_each_organization_would_be_noticed(
    create_database: Callable[[], str],
) -> None:
    """The control: what is counted is really what is sent."""
    url = create_database()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET log_statement = 'all'")
        log = log_of(admin)
    before = count(log)

    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(MANY):
            connection.execute("SELECT %s", [number])

    assert count(log) - before == MANY


def statements_of_four_passes(
    side: str, organizations: int, create_database: Callable[[], str], home: Path
) -> dict[str, int]:
    """Run four passes over so many organizations and count the statements that one side received."""
    databases = Databases(analytics_url=create_database(), source_url=create_database())
    with (
        psycopg.connect(databases.source_url, autocommit=True) as source,
        psycopg.connect(databases.analytics_url, autocommit=True) as analytics,
    ):
        pipeline = Pipeline(databases, load_settings(home=home), source, analytics)
        observed = source if side == "source" else analytics
        log, counts = log_of(observed), {}
        tenants = [pipeline.plant_tenant(workflows=1, clients=1) for _ in range(organizations)]
        for name, day, run in (
            ("first", 0, pipeline.refresh),
            ("all changed", 1, pipeline.refresh),
            ("none changed", None, pipeline.refresh),
            ("reconcile", None, lambda: pipeline.reconcile(since=NOON - DAY, until=NOON + 9 * DAY)),
        ):
            if day is not None:
                plant_one_each(pipeline, tenants, day)
            watch(observed, "all")
            before = count(log)
            run()
            counts[name] = count(log) - before
            watch(observed, "none")
    return counts


def plant_one_each(pipeline: Pipeline, tenants: list[Tenant], day: int) -> None:
    """Insert a good and an anomalous job for each tenant."""
    for tenant in tenants:
        ended = {"completed_at": NOON + day * DAY}
        pipeline.plant_jobs(tenant, [ended, ended | {"started_at": NOON + day * DAY + MINUTE}])


def watch(observed: psycopg.Connection, what: str) -> None:
    """Have the sessions that begin from now on write their statements to the server's log."""
    observed.execute("SET log_statement = 'none'")
    observed.execute(f"ALTER DATABASE {observed.info.dbname} SET log_statement = '{what}'")


def log_of(connection: psycopg.Connection) -> Path:
    """Where the server of a connection writes its log."""
    return Path(connection.execute("SHOW data_directory").fetchone()[0]) / "server.log"


def count(log: Path) -> int:
    """How many statements the log holds."""
    return len(STATEMENT.findall(log.read_text(errors="replace")))
