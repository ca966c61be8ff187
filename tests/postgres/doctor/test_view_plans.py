"""What a run looks up in a view, an index on the table below finds."""

import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases
from pipelines.settings import Settings
from pipelines.source.selections import Asked, indexed, listed
from pipelines.source.snapshot import jobs_statement, open_source
from tests.postgres.doctor.conftest import Mend
from tests.support.planting import HOUR, NOON, new_id
from tests.support.prisma_application import plant_job, plant_tenant


@pytest.mark.every_postgres
def test_a_view_is_read_by_the_indexes_of_its_table(
    source: Connection, mend: Mend, databases: Databases, settings: Settings
) -> None:
    """What was updated lately, and jobs by their hashed ids; and the view is as large as its table."""
    plant_tenant(source, "Neighbour")
    plant_job(source, plant_tenant(source))
    source.execute(
        'INSERT INTO "Job" ("id", "organizationId", "workflowId", "updatedAt")'
        """ SELECT 'clz' || n, "organizationId", "workflowId", "updatedAt" - n * interval '1 hour'"""
        ' FROM "Job", generate_series(1, 20000) AS n'
    )
    mend()

    updated = plan_of(source, indexed({new_id(): NOON - 3 * HOUR}))
    by_id = plan_of(source, listed([new_id(), new_id()]))

    assert "Job_updatedAt_execmetrics_idx" in updated
    assert "Job_id_execmetrics_idx" in by_id
    assert 'Seq Scan on "Job"' not in updated + by_id
    with open_source(databases.source_url, settings) as snapshot:
        size = source.execute("""SELECT pg_table_size('"Job"')""").fetchone()
        assert (snapshot.size_bytes(),) == size
        assert size > (1_000_000,)


def plan_of(source: Connection, asked: Asked) -> str:
    """How the server would read what is asked for."""
    with source.transaction(force_rollback=True):
        for name, value in asked.settings[0].texts().items():
            source.execute("SELECT set_config(%s, %s, true)", [name, value])
        rows = source.execute(f"EXPLAIN (COSTS OFF) {jobs_statement(asked.fragment)}").fetchall()
    return "\n".join(line for (line,) in rows)
