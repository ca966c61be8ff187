"""Migrations can be walked up and down, and every run of them says what it did."""

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from pipelines.errors import MigrationRefused
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import downgrade, migrate
from pipelines.postgres.schema_checks import revisions
from pipelines.postgres.statements import folder_of
from pipelines.settings import Settings
from tests.support.postgres_catalog import HEADS, SCHEMAS, shapes, unchanged

pytestmark = pytest.mark.every_postgres


def test_up_down_and_up_again_leaves_the_same_schema(bare: Databases, patience: Settings) -> None:
    """Walking back loses nothing and leaves nothing over; a run that finds the newest revision says so."""
    first = migrate(Run(bare, patience))
    before = shapes(bare)
    second = migrate(Run(bare, patience))
    unchanged = shapes(bare)
    for branch in reversed(SCHEMAS):
        downgrade(Run(bare, patience), branch=branch, revision="base")
    between = shapes(bare)
    migrate(Run(bare, patience))

    assert str(first) == "\n".join(f"{name}: from no tables to {HEADS[name]}" for name in SCHEMAS)
    assert str(second) == "\n".join(f"{name}: nothing to do, already at {HEADS[name]}" for name in SCHEMAS)
    assert (first.changed, second.changed) == (True, False)
    assert between == {"orchestration": [], "analytics": []}
    assert shapes(bare) == unchanged == before
    assert min(len(found) for found in before.values()) > 50


def test_a_step_back_keeps_comments_and_readers_of_the_views(bare: Databases, patience: Settings) -> None:
    """The views lose two columns and nothing else; the step forward gives them back."""
    migrate(Run(bare, patience))
    there = "SELECT has_table_privilege('pg_monitor', 'analytics.by_client_v1', 'SELECT')"
    with psycopg.connect(bare.analytics_url, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON analytics.by_client_v1 TO pg_monitor")
        before = shapes(bare)["analytics"]

        downgrade(Run(bare, patience), branch="analytics", revision="analytics_0007")

        lost = {name for _, name, *_ in set(before) - set(shapes(bare)["analytics"])}
        assert {name.rpartition(".")[2].removeprefix("aggregate_metrics_") for name in lost} == {
            "median_completed_duration_ms",
            "p95_completed_duration_ms",
            "durations_of_completed_are_in_order",
        }
        assert connection.execute(there).fetchone() == (True,)
        migrate(Run(bare, patience))
        assert shapes(bare)["analytics"] == before
        assert connection.execute(there).fetchone() == (True,)


@pytest.mark.parametrize(("gone", "kept"), [SCHEMAS, SCHEMAS[::-1]])
def test_a_branch_walks_back_alone(bare: Databases, patience: Settings, gone: str, kept: str) -> None:
    """Taking one schema down leaves the other as it was, and can be undone."""
    migrate(Run(bare, patience))
    before = shapes(bare)

    report = downgrade(Run(bare, patience), branch=gone, revision="base")

    assert str(report) == f"{gone}: from {HEADS[gone]} to no tables"
    assert shapes(bare) == {gone: [], kept: before[kept]}
    migrate(Run(bare, patience))
    assert shapes(bare) == before


def test_walking_back_leaves_what_others_keep_in_the_schema(bare: Databases, patience: Settings) -> None:
    """Somebody's own view or table beside ours survives, and so does the schema that holds it."""
    migrate(Run(bare, patience))
    with psycopg.connect(bare.analytics_url) as connection:
        connection.execute("CREATE TABLE analytics.of_somebody_else (id int)")

    downgrade(Run(bare, patience), branch="analytics", revision="base")

    kept = {name for _, name, *_ in shapes(bare)["analytics"]}
    assert kept == {"analytics", "of_somebody_else", "of_somebody_else.id"}


@pytest.mark.parametrize("branch", SCHEMAS)
def test_the_files_are_named_after_their_revisions(branch: str) -> None:
    """Which revision is the newest is known without Alembic, as it reads them itself."""
    config = Config()
    config.set_main_option("script_location", str(folder_of("migrations")))
    config.set_main_option("version_locations", str(folder_of("migrations") / branch))
    config.set_main_option("path_separator", "newline")

    walked = tuple(script.revision for script in ScriptDirectory.from_config(config).walk_revisions())

    assert revisions(branch) == walked


def test_walking_back_refuses_what_does_not_exist(bare: Databases, patience: Settings) -> None:
    """A branch or a revision that is not ours is named, and nothing is changed; nor is an empty database."""
    nothing = downgrade(Run(bare, patience), branch="analytics", revision="base")
    empty = shapes(bare)
    migrate(Run(bare, patience))

    for branch, revision, said in (
        ("billing", "base", r"no branch 'billing', only orchestration and analytics\.$"),
        ("analytics", "orchestration_0001", r"The branch analytics has no revision 'orchestration_0001'\.$"),
    ):
        with unchanged(bare), pytest.raises(MigrationRefused, match=said):
            downgrade(Run(bare, patience), branch=branch, revision=revision)

    assert (nothing.changed, str(nothing)) == (False, "analytics: nothing to do, already at no tables")
    assert empty == {"orchestration": [], "analytics": []}
