"""A migration waits for its turn, gives up in time, and leaves alone what is not ours."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import MigrationBlocked, MigrationRefused, SchemaNewer
from pipelines.postgres import migrations
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import downgrade, migrate
from pipelines.postgres.schema_checks import require_analytics
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from tests.conftest import CreateDatabase
from tests.support.postgres_catalog import HEADS, shapes, things, unchanged
from tests.support.standby_server import wait_until

pytestmark = pytest.mark.every_postgres

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('execmetrics migrate', 0))"


def test_two_migrations_at_once_wait_for_each_other(bare: Databases, patience: Settings) -> None:
    """The second one waits, finds the work done and changes nothing."""
    with ThreadPoolExecutor(2) as pool, psycopg.connect(bare.analytics_url) as first:
        first.execute(LOCK)
        longer = load_settings(home=patience.home, lock_timeout=30)
        both = [pool.submit(migrate, Run(bare, longer)) for _ in range(2)]
        wait_until(lambda: waiting(bare) == 2)
        nothing_yet = things(bare.analytics_url, "analytics")
        first.commit()

        reports = [run.result() for run in both]

    assert nothing_yet == []
    assert sorted(report.changed for report in reports) == [False, True]


def test_a_migration_that_waits_too_long_gives_up(bare: Databases, patience: Settings) -> None:
    """Another one is waited for only so long as EXECMETRICS_LOCK_TIMEOUT says; then nothing was changed."""
    with unchanged(bare), psycopg.connect(bare.analytics_url) as other:
        other.execute(LOCK)

        with pytest.raises(MigrationBlocked, match=r"nothing was changed.*Another session holds a lock\.$"):
            migrate(Run(bare, patience))


@pytest.mark.parametrize(
    ("table_patience", "statement_timeout", "said"),
    [
        ("200ms", 60, r"Another session holds a lock\.$"),
        ("5s", 1, r"A statement took longer than the limit\.$"),
    ],
)
def test_a_table_in_use_blocks_the_migration_and_nothing_is_changed(
    databases: Databases,
    patience: Settings,
    monkeypatch: pytest.MonkeyPatch,
    table_patience: str,
    statement_timeout: int,
    said: str,
) -> None:
    """An open transaction on one table stops the whole walk, the tables changed before it included.

    A migration gives up when it has waited for the table, or when EXECMETRICS_STATEMENT_TIMEOUT is over.
    """
    monkeypatch.setattr(migrations, "_TABLE_PATIENCE", table_patience)
    hurried = load_settings(home=patience.home, lock_timeout=1, statement_timeout=statement_timeout)
    with unchanged(databases), psycopg.connect(databases.analytics_url) as reader:
        reader.execute("SELECT FROM analytics.aggregate_metrics")

        with pytest.raises(MigrationBlocked, match=said):
            downgrade(Run(databases, hurried), branch="analytics", revision="base")


def test_a_newer_schema_is_left_to_a_newer_version(
    databases: Databases, settings: Settings, analytics: Connection
) -> None:
    """An unknown revision means that a later version was here: nothing of ours touches its tables."""
    analytics.execute("UPDATE analytics.alembic_version SET version_num = 'analytics_9999'")

    back = partial(downgrade, branch="analytics", revision="base")
    for attempt in (migrate, back, require_analytics, refresh):
        refused = pytest.raises(SchemaNewer, match="migrated by a newer execution-metrics")
        with unchanged(databases), refused:
            attempt(Run(databases, settings))

    stored = analytics.execute("SELECT version_num FROM analytics.alembic_version").fetchone()
    assert stored == ("analytics_9999",)


def test_a_source_of_another_program_is_left_alone(bare: Databases, patience: Settings) -> None:
    """Tables that Prisma made stay as they are, asked for or not; analytics is made beside them."""
    with psycopg.connect(bare.source_url) as prisma:
        prisma.execute("CREATE SCHEMA orchestration; CREATE TABLE orchestration._prisma_migrations (id text)")
        prisma.execute("CREATE TABLE orchestration.jobs (id uuid PRIMARY KEY, status text)")
    before = shapes(bare)["orchestration"]

    reports = [migrate(Run(bare, patience)), migrate(Run(bare, patience), with_source=True)]
    walked_back = downgrade(Run(bare, patience), branch="orchestration", revision="base")

    assert [report.changed for report in reports] == [True, False]
    assert str(reports[0]) == (
        "orchestration: left alone, its tables were made by another program\n"
        f"analytics: from no tables to {HEADS['analytics']}"
    )
    assert not walked_back.changed
    assert shapes(bare)["orchestration"] == before


def test_a_source_in_another_database_is_touched_only_when_asked(
    create_bare_database: CreateDatabase, patience: Settings
) -> None:
    """Two databases: `migrate` makes analytics in its own, and the source only with --with-source."""
    apart = Databases(create_bare_database(), create_bare_database())

    without = migrate(Run(apart, patience))
    untouched = things(apart.source_url, "orchestration")
    with_source = migrate(Run(apart, patience), with_source=True)

    assert [branch.branch for branch in without.branches] == ["analytics"]
    assert untouched == []
    assert [(branch.branch, branch.changed) for branch in with_source.branches] == [
        ("orchestration", True),
        ("analytics", False),
    ]
    assert things(apart.source_url, "orchestration") != []
    assert things(apart.source_url, "analytics") == things(apart.analytics_url, "orchestration") == []


def test_a_table_of_the_same_name_that_is_not_ours_is_kept(bare: Databases, patience: Settings) -> None:
    """Somebody's own analytics.aggregate_metrics is never replaced; the migration undoes itself."""
    with psycopg.connect(bare.analytics_url) as other:
        other.execute("CREATE SCHEMA analytics; CREATE TABLE analytics.aggregate_metrics (mine text)")

    refused = pytest.raises(MigrationRefused, match=r"A table of the same name is there that is not ours\.$")
    with unchanged(bare), refused:
        migrate(Run(bare, patience))


def test_a_role_without_the_right_to_create_is_refused(bare: Databases, patience: Settings) -> None:
    """A missing privilege is a sentence too, and leaves nothing half made."""
    with psycopg.connect(bare.analytics_url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS execmetrics_reader_only")
        admin.execute("CREATE ROLE execmetrics_reader_only LOGIN")
        url = f"{bare.analytics_url}&user=execmetrics_reader_only"
        refused = pytest.raises(MigrationRefused, match=r"may not create or change these tables\.$")
        try:
            with unchanged(bare), refused:
                migrate(Run(Databases(url, url), patience))
        finally:
            admin.execute("DROP ROLE execmetrics_reader_only")


def waiting(databases: Databases) -> int:
    """How many sessions of this database wait for an advisory lock."""
    with psycopg.connect(databases.analytics_url) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        ).fetchone()[0]
