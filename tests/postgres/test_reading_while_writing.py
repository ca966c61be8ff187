"""Reading on from a horizon misses nothing, whatever is written meanwhile and in whatever order."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from pipelines.settings import Settings
from pipelines.storage.asked import Asked, Indexed, Swept
from pipelines.storage.database import Databases
from pipelines.storage.frames import uuids
from pipelines.storage.source import Moment, open_source
from tests.planting import plant_job, plant_tenant
from tests.postgres.writers import NaiveReader, run_writers, versions

pytestmark = pytest.mark.every_postgres

SECONDS, SEED = 8.0, 20240131

# Shorter than a transaction may stay open, and than a clock may be wrong.
LOOKBACK = timedelta(seconds=0.5)


class Reader:
    """What a pipeline would hold: the hash of each job as it was last read."""

    def __init__(self, databases: Databases, settings: Settings, tenants: list[UUID]) -> None:
        self._url, self._settings, self._tenants = databases.source_url, settings, tenants
        self._moment: Moment | None = None
        self.held: dict[UUID, int] = {}

    def sweep(self) -> None:
        """Read what was written at or past the last horizon."""
        self._read(Swept(dict.fromkeys(self._tenants, self._moment.horizon if self._moment else None)))

    def search(self) -> None:
        """Read what was updated since the last time, and a little before."""
        since = self._moment.extracted_at if self._moment else datetime.min.replace(tzinfo=UTC) + LOOKBACK
        self._read(Indexed(dict.fromkeys(self._tenants, since - LOOKBACK)))

    def forget_where_it_was(self, horizon: int) -> None:
        """Go back to a horizon, as the daily sweep of an indexed source does."""
        self._moment = Moment(horizon, "", datetime.min.replace(tzinfo=UTC))

    def _read(self, asked: Asked) -> None:
        with open_source(self._url, self._settings) as snapshot:
            for frame in snapshot.jobs(asked):
                self.held.update(zip(uuids(frame["job_id"]), frame["row_hash"], strict=True))
        self._moment = snapshot.moment


def test_no_change_is_missed_while_eight_writers_are_at_work(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """By sweeping none, by index none after the next sweep; whoever trusts `updated_at` misses some."""
    tenants = [plant_tenant(source, f"Tenant {number}") for number in range(3)]
    for tenant in tenants:
        plant_job(source, tenant)
    ids = [tenant.organization for tenant in tenants]
    sweeping, searching = (Reader(databases, settings, ids) for _ in range(2))
    naive = NaiveReader(databases.source_url)
    with open_source(databases.source_url, settings) as snapshot:
        first_horizon = snapshot.moment.horizon
    writing = threading.Thread(
        target=run_writers, args=[databases.source_url, tenants, SECONDS, SEED], daemon=True
    )

    writing.start()
    while writing.is_alive():
        sweeping.sweep()
        searching.search()
        naive.poll()
        writing.join(timeout=0.1)
    sweeping.sweep()
    searching.search()
    naive.poll()

    truth = Reader(databases, settings, ids)
    truth.sweep()
    assert len(truth.held) > 100
    assert sweeping.held == truth.held
    assert naive.missed(), "the control"
    assert naive.missed() < {job for job, _ in versions(databases.source_url)}
    assert searching.held != truth.held, "an index alone is not enough"
    searching.forget_where_it_was(first_horizon)
    searching.sweep()
    assert searching.held == truth.held
