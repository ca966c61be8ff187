"""The tables of executions come beside jobs that are there, and their levels change under way."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from pipelines.errors import MigrationRefused
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import downgrade, migrate
from pipelines.settings import Settings
from tests.support.oracle import ALL
from tests.support.planting import plant_job, plant_tenant
from tests.support.postgres_catalog import shapes, unchanged

pytestmark = pytest.mark.every_postgres

BEFORE = ["DEBUG", "INFO", "WARN", "ERROR"]
LEVELS = ["TRACE", *BEFORE, "FATAL"]

# The levels that there are, the least grave first, and those of the lines that were written.
THERE = "SELECT unnest(enum_range(NULL::orchestration.log_level))::text"
WRITTEN = "SELECT level::text FROM orchestration.execution_logs ORDER BY sequence"


def test_levels_are_added_while_the_logs_are_locked(
    databases: Databases, patience: Settings, source: Connection
) -> None:
    """Writers of logs need not stop for it: no table is locked, however long somebody holds one."""
    downgrade(Run(databases, patience), branch="orchestration", revision="orchestration_0002")
    before = levels(source, THERE)
    with psycopg.connect(databases.source_url) as holder:
        holder.execute("LOCK TABLE orchestration.execution_logs IN ACCESS EXCLUSIVE MODE")

        migrate(Run(databases, patience))

    assert (before, levels(source, THERE)) == (BEFORE, LEVELS)


def test_levels_walk_back_and_come_again(
    databases: Databases, patience: Settings, source: Connection
) -> None:
    """A line keeps the nearest level that is left; the schema is the same again, and takes all six."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    write = (
        "INSERT INTO orchestration.execution_logs (organization_id, job_id, sequence, level)"
        " SELECT %s, %s, %s + number, level::orchestration.log_level"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS lines (level, number)"
    )
    source.execute(write, [tenant.organization, job, 0, LEVELS])
    before = shapes(databases)

    downgrade(Run(databases, patience), branch="orchestration", revision="orchestration_0002")
    written_down = levels(source, WRITTEN)
    migrate(Run(databases, patience))
    source.execute(write, [tenant.organization, job, len(LEVELS), LEVELS])

    assert written_down == ["DEBUG", *BEFORE, "ERROR"]
    assert levels(source, WRITTEN) == written_down + LEVELS
    assert shapes(databases) == before


@pytest.mark.parametrize(
    ("rule", "table"),
    [
        ("jobs_result_is_at_most_a_mebibyte", "jobs"),
        ("organizations_id_is_not_reserved", "organizations"),
    ],
)
def test_rows_that_break_a_new_rule_are_named_by_it(
    databases: Databases, patience: Settings, source: Connection, rule: str, table: str
) -> None:
    """A person reads which rule of which table, and no value; nothing was changed."""
    downgrade(Run(databases, patience), branch="orchestration", revision="orchestration_0001")
    if table == "jobs":
        plant_job(source, plant_tenant(source), result=Jsonb("private " * 200_000))
    else:
        source.execute("INSERT INTO orchestration.organizations (id, name) VALUES (%s, 'private')", [ALL])

    with unchanged(databases), pytest.raises(MigrationRefused) as refusal:
        migrate(Run(databases, patience))

    assert str(refusal.value).endswith(
        f"nothing was changed. Rows of orchestration.{table} break a rule of this version ({rule});"
        " correct them and migrate again."
    )
    assert "private" not in str(refusal.value)


def levels(source: Connection, asked: str) -> list[str]:
    """The levels that a statement gives."""
    return [level for (level,) in source.execute(asked)]
