"""What people and programs do to the source: a few sorts of writes, on whichever rows there are."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from tests.support.histories.books import Row
from tests.support.histories.oracle import EARLIEST, TOLERANCE, reported
from tests.support.histories.source import Source, Transaction, now
from tests.support.histories.world import NOWHERE, ORGANIZATIONS, ZONES
from tests.support.oracle import ALL
from tests.support.planting import DAY, MINUTE, NOON

UNKNOWN = UUID(int=(0xC << 120) + 1)

# No workflow of anybody, for an organization that has handed over all of its own.
_NO_WORKFLOW = UUID(int=0xE)

_TIMES = ("created_at", "started_at", "completed_at")
_UNREADABLE = ("0044-03-15 12:00:00Z BC", "10000-01-01 00:00:00Z")

Columns = dict[str, Any]


class Write(NamedTuple):
    """What is done; the number chooses to which of the rows there are, and whatever else is open."""

    what: str
    number: int
    completed_at: datetime
    lasted: timedelta


class Writers:
    """Everybody who writes to a source; `loose` is one without constraints."""

    def __init__(self, source: Source, *, loose: bool) -> None:
        self._source, self._loose = source, loose
        self._new_ids = 0

    def do(self, write: Write) -> None:
        """Do it, if there is anything to do it to."""
        if write.what in ("comes", "begins"):
            self._source.insert(*self._new(write))
        elif write.what in ("insert and wait", "change and wait"):
            self._open(write)
        elif write.what in ("commit", "roll back"):
            if self._source.open:
                self._source.end(self._source.open[0], commit=write.what == "commit")
        elif write.what in ("zone", "no zone"):
            zone = NOWHERE if write.what == "no zone" else ZONES[write.number // 3 % len(ZONES)]
            self._source.resettle(ORGANIZATIONS[write.number % 3], zone)
        elif write.what.endswith((" deleted", " handed over")):
            self._upheave(write.what, write.number, ORGANIZATIONS[write.number % 3])
        else:
            self._change(write)

    def settle(self) -> None:
        """End every transaction, and let everybody live somewhere."""
        for transaction in list(self._source.open):
            self._source.end(transaction, commit=True)
        for organization, zone in self._source.books.zones.items():
            if zone == NOWHERE:
                self._source.resettle(organization, "UTC")

    def _open(self, write: Write) -> None:
        if len(self._source.open) == 2:
            return
        if write.what == "insert and wait":
            self._source.insert(*self._new(write), self._source.begin())
        elif self._source.free:
            self._change(write._replace(what="finishes"), within=True)

    def _change(self, write: Write, *, within: bool = False) -> None:
        rows = {job: self._source.books.jobs[job] for job in self._source.free}
        # Nothing comes of most writes to most rows, so those of which something comes are preferred.
        free = [job for job, row in rows.items() if _suits(write.what, row)] or list(rows)
        if free:
            job = free[write.number % len(free)]
            columns = self._columns(write._replace(number=write.number // 8), rows[job])
            transaction: Transaction | None = self._source.begin() if within else None
            self._source.change(job, transaction, **columns)

    def _columns(self, write: Write, row: Row) -> Columns:
        """The columns that a write changes; clocks of applications are up to five seconds off."""
        clock = {"updated_at": now(write.number % 11 - 5)}
        clock = {} if write.what.startswith("changed") else clock
        return clock | self._of_work(write, row) | self._of_trouble(write, row)

    def _of_work(self, write: Write, row: Row) -> Columns:
        what, number, completed_at, lasted = write
        organization = row.organization_id
        another = [each for each in ORGANIZATIONS if each != organization][number % 2]
        times: Columns = {"started_at": completed_at - lasted, "completed_at": completed_at}
        status: Columns = {"status": "FAILED" if number % 4 == 3 else "COMPLETED"}
        finished = status | times | {"created_at": completed_at - 10 * MINUTE}
        within = list(self._place(organization, number // 3).items())[1:]
        home = organization if organization in ORGANIZATIONS else another
        return {
            "repaired": finished | self._place(home, number),
            **dict.fromkeys(("too early", "far future", "soon", "completion forgotten"), status),
            "finishes": finished,
            "finishes elsewhere": times | self._place(organization, number),
            "retried": {"status": "RUNNING", "completed_at": None},
            "lasts otherwise": {"started_at": completed_at - lasted},
            "moves in the organization": dict([within[number % 3]]),
            "moves to another organization": self._place(another, number),
            "created on another day": {"created_at": NOON - (number % 3) * DAY},
            "cancelled": {"status": "CANCELLED"},
            "soft-deleted": {"deleted_at": NOON},
            "undeleted": {"deleted_at": None},
            "changed behind the application's back": status | times,
            "changed long ago": finished | {"updated_at": now(-3600 * (1 + number % 9))},
        }.get(what, {})

    def _of_trouble(self, write: Write, row: Row) -> Columns:
        _, number, completed_at, _ = write
        books = self._source.books
        return {
            "negative": {"started_at": completed_at + MINUTE, "completed_at": completed_at},
            "start forgotten": {"started_at": None},
            "completion forgotten": {"completed_at": None},
            "infinite": {(*_TIMES, "updated_at")[number % 4]: ("infinity", "-infinity")[number // 4 % 2]},
            "out of range": {_TIMES[number % 3]: _UNREADABLE[number // 3 % 2]},
            "too early": {"completed_at": EARLIEST - (number % 2) * MINUTE},
            "far future": {"completed_at": now() + 400 * DAY},
            "soon": {"completed_at": now() + TOLERANCE + timedelta(seconds=0.3)},
            "of a reserved workflow": {"workflow_id": ALL},
            "initiated by all": {"initiator_type": "all"},
            "archived": {"status": "ARCHIVED"},
            "moves to an unknown organization": {"organization_id": UNKNOWN},
            "of a foreign workflow": _foreign("workflow_id", books.workflows, row, number),
            "for a foreign client": _foreign("client_id", books.clients, row, number),
        }.get(write.what, {})

    def _upheave(self, what: str, number: int, organization: UUID) -> None:
        source, strict = self._source, not self._loose
        workflows, clients = self._source.books.owned_by(organization)
        heir = ORGANIZATIONS[(ORGANIZATIONS.index(organization) + 1 + number // 3 % 2) % 3]
        if what == "job deleted":
            if source.free:
                source.delete_job(source.free[number % len(source.free)])
        # An open transaction may hold rows of theirs.
        elif what == "client deleted" and clients and not source.open:
            source.delete_client(clients[number // 3 % len(clients)], sets_null=strict)
        elif what == "workflow deleted" and len(workflows) > 1 and not source.open:
            source.delete_workflow(workflows[number // 3 % len(workflows)], cascades=strict)
        elif what == "workflow handed over" and workflows:
            source.hand_over("workflows", workflows[0], heir)
        elif what == "client handed over" and clients:
            source.hand_over("clients", clients[0], heir)

    def _new(self, write: Write) -> tuple[UUID, Row]:
        self._new_ids += 1
        finished = write.what != "begins"
        row = Row(
            **self._place(ORGANIZATIONS[write.number % 3], write.number // 3),
            status=("COMPLETED", "FAILED")[write.number % 2] if finished else "RUNNING",
            created_at=write.completed_at - write.lasted - MINUTE,
            started_at=write.completed_at - write.lasted,
            completed_at=write.completed_at if finished else None,
            updated_at=now(write.number % 11 - 5),
            deleted_at=None,
        )
        return UUID(int=(0xD << 120) + self._new_ids), row

    def _place(self, organization: UUID, number: int) -> Columns:
        workflows, clients = self._source.books.owned_by(organization)
        return {
            "organization_id": organization,
            "workflow_id": workflows[number % len(workflows)] if workflows else _NO_WORKFLOW,
            "client_id": (*clients, None)[number // 2 % (len(clients) + 1)],
            "initiator_type": ("USER", None, "unknown")[number // 5 % 3],
        }


def _foreign(column: str, owners: dict[UUID, UUID], row: Row, number: int) -> Columns:
    foreign = [id_ for id_, owner in owners.items() if owner != row.organization_id]
    return {column: foreign[number % len(foreign)]} if foreign else {}


def _suits(what: str, row: Row) -> bool:
    if what == "undeleted":
        return row.deleted_at is not None
    if what == "finishes":
        return row.status not in ("COMPLETED", "FAILED")
    return reported(row)
