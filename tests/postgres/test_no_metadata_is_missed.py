"""Whatever the commit order: in the end every change of jobs, workflows and clients is in the copy."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import psycopg

from pipelines.executions.metadata import SyncReport
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.execution_metadata import find_drift, sync_metadata
from pipelines.settings import load_settings
from tests.conftest import CreateDatabase
from tests.support.concurrent_writers import NaiveReader, run_writers
from tests.support.metadata_oracle import wrong
from tests.support.planting import Tenant, plant_job, plant_tenant

SECONDS, SEED = 5.0, 20261127


def test_every_change_of_eight_writers_reaches_the_copy(
    create_database: CreateDatabase, tmp_path: Path
) -> None:
    """Two syncs at a time beside writers who take their time; a cursor on `updated_at` misses some."""
    url = create_database()
    databases, settings = Databases(url, url), load_settings(home=tmp_path)
    with psycopg.connect(url, autocommit=True) as source:
        tenants = [plant_tenant(source, name) for name in ("Acme", "Neighbour", "Third")]
        for tenant in tenants:
            plant_job(source, tenant)
        naive = NaiveReader(url)
        writing = [
            threading.Thread(target=run_writers, args=[url, tenants, SECONDS, SEED], daemon=True),
            threading.Thread(target=rename, args=[url, tenants], daemon=True),
        ]
        reports: list[SyncReport] = []

        def sync() -> None:
            while any(writer.is_alive() for writer in writing):
                reports.append(sync_metadata(Run(databases, settings)))
                naive.poll()

        for thread in writing:
            thread.start()
        syncing = [threading.Thread(target=sync) for _ in range(2)]
        for thread in syncing:
            thread.start()
        for thread in [*syncing, *writing]:
            thread.join()
        naive.poll()
        last = sync_metadata(Run(databases, settings))

        assert len(reports) > 2
        assert sum(report.rows_updated for report in reports) > 0
        assert naive.missed(), "the control must fail, or the writers are too tame"
        assert last.organizations_waiting == 0
        assert wrong(source) == []
    assert sync_metadata(Run(databases, settings)) == SyncReport(organizations=len(tenants))
    assert find_drift(Run(databases, settings)).drifted == ()


def rename(url: str, tenants: Sequence[Tenant]) -> None:
    """Give workflows and clients other names, in transactions that stay open for a while."""
    random, until = Random(SEED), time.monotonic() + SECONDS
    with psycopg.connect(url) as connection:
        while time.monotonic() < until:
            for table in ("workflows", "clients"):
                ids = getattr(random.choice(tenants), table)
                connection.execute(
                    f"UPDATE orchestration.{table} SET name = %s WHERE id = %s",
                    [f"Name {random.random()}", random.choice(ids)],
                )
            time.sleep(random.uniform(0, 0.5))
            connection.commit()
