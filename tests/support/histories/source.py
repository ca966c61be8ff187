"""The source in PostgreSQL: whatever is changed there is written into the books as well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from tests.support.histories.books import Books, Row, Unseen

COLUMNS = Row._fields


@dataclass
class Transaction:
    """Writes that nobody else sees yet: what they say goes into the books when they are committed."""

    connection: psycopg.Connection
    locked: set[UUID] = field(default_factory=set)
    entries: list[Callable[[], None]] = field(default_factory=list)


class Source:
    """The only one who writes to the source; jobs that an open transaction holds are left alone."""

    def __init__(self, connection: psycopg.Connection, url: str, books: Books, unseen: Unseen) -> None:
        self._connection, self._url = connection, url
        self.books, self.unseen = books, unseen
        self.open: list[Transaction] = []

    @property
    def free(self) -> list[UUID]:
        """The jobs that can be changed without waiting for somebody."""
        locked = {job for transaction in self.open for job in transaction.locked}
        return [job for job in self.books.jobs if job not in locked]

    def begin(self) -> Transaction:
        """Open a transaction, which has a snapshot already."""
        connection = psycopg.connect(self._url)
        connection.execute("SELECT FROM orchestration.jobs LIMIT 1")
        self.open.append(Transaction(connection))
        return self.open[-1]

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        """Commit or roll back."""
        self.open.remove(transaction)
        if commit:
            transaction.connection.commit()
            for entry in transaction.entries:
                entry()
        transaction.connection.close()

    def insert(self, job: UUID, row: Row, within: Transaction | None = None) -> None:
        """A new job."""
        values = ", ".join(f"%({name})s" for name in ("id", *COLUMNS))
        text = f"INSERT INTO orchestration.jobs (id, {', '.join(COLUMNS)}) VALUES ({values})"
        self._write(text, job, within, row._asdict())

    def change(self, job: UUID, within: Transaction | None = None, **columns: Any) -> None:
        """New values in some columns; `updated_at` stays what it was unless it is one of them."""
        assignments = ", ".join(f"{name} = %({name})s" for name in columns)
        text = f"UPDATE orchestration.jobs SET {assignments} WHERE id = %(id)s"
        self._write(text, job, within, columns)

    def _write(self, text: str, job: UUID, within: Transaction | None, columns: dict[str, Any]) -> None:
        """Carry out a statement; the books hear of it when it is committed."""

        def entry() -> None:
            before = self.books.jobs.get(job)
            after = before._replace(**columns) if before else Row(**columns)
            self.books.jobs[job] = after
            self.unseen.write(job, after.organization_id, (before or after).organization_id)

        if within is None:
            self._connection.execute(text, {"id": job, **columns})
            entry()
        else:
            within.connection.execute(text, {"id": job, **columns})
            within.locked.add(job)
            within.entries.append(entry)

    def delete_job(self, job: UUID) -> None:
        """Nothing is left of a job."""
        self._connection.execute("DELETE FROM orchestration.jobs WHERE id = %s", [job])
        self._forget(job)

    def delete_workflow(self, workflow: UUID, *, cascades: bool) -> None:
        """Its jobs go with it, or stay and name a workflow that is nowhere."""
        for job, row in self._delete("workflows", self.books.workflows, workflow):
            if cascades:
                self._forget(job)
            else:
                self.unseen.affect(row.organization_id)

    def delete_client(self, client: UUID, *, sets_null: bool) -> None:
        """Its jobs lose it without a word in `updated_at`, or keep naming a client that is nowhere."""
        for job, row in self._delete("clients", self.books.clients, client):
            if sets_null:
                self.books.jobs[job] = row._replace(client_id=None)
                self.unseen.write(job, row.organization_id)
            else:
                self.unseen.affect(row.organization_id)

    def _delete(self, table: str, owners: dict[UUID, UUID], id_: UUID) -> list[tuple[UUID, Row]]:
        self._connection.execute(f"DELETE FROM orchestration.{table} WHERE id = %s", [id_])
        del owners[id_]
        return [each for each in self.books.jobs.items() if id_ in (each[1].workflow_id, each[1].client_id)]

    def hand_over(self, table: str, id_: UUID, organization: UUID) -> None:
        """A workflow or a client gets another owner."""
        owners = self.books.workflows if table == "workflows" else self.books.clients
        update = f"UPDATE orchestration.{table} SET organization_id = %s WHERE id = %s"
        self._connection.execute(update, [organization, id_])
        naming = [row for row in self.books.jobs.values() if id_ in (row.workflow_id, row.client_id)]
        self.unseen.move({owners[id_], organization, *(row.organization_id for row in naming)})
        owners[id_] = organization

    def resettle(self, organization: UUID, zone: str) -> None:
        """An organization moves to another time zone."""
        update = "UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s"
        self._connection.execute(update, [zone, organization])
        self.books.zones[organization] = zone
        self.unseen.affect(organization)

    def _forget(self, job: UUID) -> None:
        row = self.books.jobs.pop(job)
        self.unseen.delete(job, row.organization_id)


def now(skew_s: float = 0) -> datetime:
    """What the clock of an application server shows, which may be some seconds off."""
    return datetime.now(UTC) + timedelta(seconds=skew_s)
