"""An application at work on a source: eight writers at once, and a reader that trusts `updated_at`."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from uuid import UUID

import psycopg
from psycopg import errors

from tests.support.planting import MINUTE, Tenant, plant_job

WRITERS = 8

# How long a transaction may stay open, in seconds, and how wrong an application's clock may be.
SHORTEST_S, LONGEST_S = 0.2, 2.5
SKEW = timedelta(seconds=5)

# Two writers who want each other's rows: one of them gives way, and goes on with something else.
GIVING_WAY = (errors.DeadlockDetected, errors.LockNotAvailable, errors.ForeignKeyViolation)


_ENDED = "status = %(outcome)s, completed_at = %(now)s, updated_at = %(now)s"

# What is done to a job, and how often: it ends, is retried, deleted or restored; or it is edited by raw SQL,
# as an administrator writes it, so that `updated_at` stays what it was.
_CHANGES = {
    f"{_ENDED}, started_at = coalesce(started_at, %(before)s)": 24,
    "status = 'RUNNING', completed_at = NULL, updated_at = %(now)s": 12,
    "deleted_at = CASE WHEN deleted_at IS NULL THEN %(now)s END, updated_at = %(now)s": 6,
    "initiator_type = 'API'": 4,
    "workflow_id = %(workflow)s": 4,
    "completed_at = completed_at - interval '1 day', started_at = started_at - interval '1 day'": 4,
}


def run_writers(url: str, tenants: Sequence[Tenant], seconds: float, seed: int) -> None:
    """Let eight writers change jobs of all tenants for so long; what each wants to do follows from `seed`.

    No job is deleted, so whoever has seen every row's last version has missed nothing.
    """
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [_Writer(tenants, Random(f"{seed} {number}")) for number in range(WRITERS)]
        for done in [pool.submit(writer.work, url, until) for writer in writers]:
            done.result()


class NaiveReader:
    """The control: reads what was updated after the latest update it has seen, as many pipelines do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._latest = datetime.min.replace(tzinfo=UTC)
        self.seen: set[tuple[UUID, int]] = set()

    def poll(self) -> None:
        """Read on from where it was."""
        with psycopg.connect(self._url) as connection:
            select = "SELECT id, xmin::text::bigint, updated_at FROM orchestration.jobs WHERE updated_at > %s"
            rows = connection.execute(select, [self._latest]).fetchall()
        self.seen.update((job, version) for job, version, _ in rows)
        self._latest = max([self._latest, *(updated_at for _, _, updated_at in rows)])

    def missed(self) -> set[UUID]:
        """The jobs whose last version it has not seen."""
        return {job for job, version in versions(self._url) if (job, version) not in self.seen}


def versions(url: str) -> set[tuple[UUID, int]]:
    """Every job, with the transaction that wrote it last."""
    with psycopg.connect(url) as connection:
        return set(connection.execute("SELECT id, xmin::text::bigint FROM orchestration.jobs").fetchall())


class _Writer:
    """One connection of an application, on a server whose clock is wrong."""

    def __init__(self, tenants: Sequence[Tenant], random: Random) -> None:
        self._tenants, self._random = tenants, random
        self._skew = random.uniform(-1, 1) * SKEW
        self._clients: list[tuple[Tenant, UUID]] = []
        self._jobs: list[tuple[Tenant, UUID]] = []
        self._actions: dict[Callable[[psycopg.Connection], None], int] = {
            self._insert: 24,
            self._change_somebody_elses: 9,
            self._delete_a_client: 6,
            **{partial(self._change, what=what): weight for what, weight in _CHANGES.items()},
        }

    def work(self, url: str, until: float) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '3s'")
            connection.commit()
            while time.monotonic() < until:
                try:
                    self._transact(connection)
                except GIVING_WAY:
                    connection.rollback()

    def _transact(self, connection: psycopg.Connection) -> None:
        """Do a few things in one transaction, some of them each in a nested one, and take one's time."""
        chosen, weights = zip(*self._actions.items(), strict=True)
        connection.execute("SELECT")
        for act in self._random.choices(chosen, weights, k=self._random.randint(1, 4)):
            nested = connection.transaction() if self._random.random() < 0.3 else nullcontext()
            with nested:
                act(connection)
        if self._random.random() < 0.3:
            time.sleep(self._random.uniform(SHORTEST_S, LONGEST_S))
        if self._random.random() < 0.05:
            # Somebody changes their mind, and what they wrote never was.
            connection.rollback()
        else:
            connection.commit()

    def _now(self) -> datetime:
        """The time by this application's clock."""
        return datetime.now(UTC) + self._skew

    def _insert(self, connection: psycopg.Connection) -> None:
        tenant = self._random.choice(self._tenants)
        for _ in range(self._random.randint(1, 3)):
            now = self._now()
            status = self._random.choice(["PENDING", "RUNNING", "COMPLETED", "FAILED"])
            job = plant_job(
                connection,
                tenant,
                id=UUID(int=self._random.getrandbits(128), version=4),
                workflow_id=self._random.choice(tenant.workflows),
                client_id=self._random.choice([*tenant.clients, None]),
                initiator_type=self._random.choice(["USER", "SCHEDULE", None]),
                status=status,
                created_at=now - 2 * MINUTE,
                started_at=None if status == "PENDING" else now - MINUTE,
                completed_at=now if status in ("COMPLETED", "FAILED") else None,
                updated_at=now,
            )
            self._jobs.append((tenant, job))

    def _change_somebody_elses(self, connection: psycopg.Connection) -> None:
        """Change a job of whoever has one, so that writers meet."""
        tenant = self._random.choice(self._tenants)
        select = "SELECT id FROM orchestration.jobs WHERE organization_id = %s ORDER BY id LIMIT 20"
        ids = connection.execute(select, [tenant.organization]).fetchall()
        if ids:
            self._update(connection, _ENDED, tenant, self._random.choice(ids)[0])

    def _delete_a_client(self, connection: psycopg.Connection) -> None:
        """Delete a client that has jobs, which loses them it without touching `updated_at`."""
        if self._clients:
            _, client = self._clients.pop(self._random.randrange(len(self._clients)))
            connection.execute("DELETE FROM orchestration.clients WHERE id = %s", [client])
            return
        tenant = self._random.choice(self._tenants)
        client = UUID(int=self._random.getrandbits(128), version=4)
        insert = "INSERT INTO orchestration.clients (id, organization_id, name) VALUES (%s, %s, 'For now')"
        connection.execute(insert, [client, tenant.organization])
        mine = [job for owner, job in self._jobs if owner is tenant][-5:]
        give = "UPDATE orchestration.jobs SET client_id = %s, updated_at = %s WHERE id = ANY(%s)"
        connection.execute(give, [client, self._now(), mine])
        self._clients.append((tenant, client))

    def _change(self, connection: psycopg.Connection, what: str) -> None:
        if self._jobs:
            self._update(connection, what, *self._random.choice(self._jobs))

    def _update(self, connection: psycopg.Connection, what: str, tenant: Tenant, job: UUID) -> None:
        now = self._now()
        outcome = self._random.choice(["COMPLETED", "FAILED"])
        values = {"job": job, "now": now, "before": now - MINUTE, "outcome": outcome}
        values["workflow"] = self._random.choice(tenant.workflows)
        connection.execute(f"UPDATE orchestration.jobs SET {what} WHERE id = %(job)s", values)
