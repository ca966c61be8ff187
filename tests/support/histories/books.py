"""The source as the histories wrote it down, and what of it a run cannot have seen.

The rows are plain, no SQL has touched them. Of whom there is something unseen, nobody may expect yet that the
table equals the source.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

# Text is a time that PostgreSQL holds and Python cannot: infinity, or a year outside 1 to 9999.
Time = datetime | str | None


class Row(NamedTuple):
    """A job of the source."""

    organization_id: UUID
    workflow_id: UUID
    client_id: UUID | None
    initiator_type: str | None
    status: str
    created_at: Time
    started_at: Time
    completed_at: Time
    updated_at: Time
    deleted_at: Time


@dataclass(frozen=True)
class Books:
    """Zones of organizations, owners of workflows and clients, and jobs, by their ids."""

    zones: dict[UUID, str] = field(default_factory=dict)
    workflows: dict[UUID, UUID] = field(default_factory=dict)
    clients: dict[UUID, UUID] = field(default_factory=dict)
    jobs: dict[UUID, Row] = field(default_factory=dict)

    def owned_by(self, organization: UUID) -> tuple[list[UUID], ...]:
        """The workflows and the clients of an organization."""
        both = (self.workflows, self.clients)
        return tuple([id_ for id_, owner in owners.items() if owner == organization] for owners in both)

    def photo(self) -> "Books":
        """The books as they are now, whatever is written later."""
        return Books(*map(dict, vars(self).values()))


Organizations = frozenset[UUID]

# The books as they were, with the tick of that moment.
Photo = tuple[Books, int]


@dataclass
class Unseen:
    """Changes by what reveals them; each has the organizations it concerns and the tick it was made at.

    `written` rows are revealed by reading them, `deleted` ones by a checksum comparison, new `owners` to a
    run of everybody, and an `affected` organization needs no more than being published.
    """

    tick: int = 0
    written: dict[UUID, tuple[Organizations, int]] = field(default_factory=dict)
    deleted: dict[UUID, tuple[Organizations, int]] = field(default_factory=dict)
    owners: dict[UUID, int] = field(default_factory=dict)
    affected: dict[UUID, int] = field(default_factory=dict)

    def write(self, job: UUID, *organizations: UUID) -> None:
        """A row was inserted or changed, and these organizations had it or have it."""
        self.tick += 1
        self.written[job] = (frozenset(organizations) | self._of(self.written, job), self.tick)

    def delete(self, job: UUID, organization: UUID) -> None:
        """A row is no more."""
        self.tick += 1
        whose = self._of(self.written, job)
        self.written.pop(job, None)
        self.deleted[job] = (whose | {organization}, self.tick)

    def move(self, organizations: Collection[UUID]) -> None:
        """A workflow or a client changed hands, which concerns these."""
        self.tick += 1
        self.owners |= dict.fromkeys(organizations, self.tick)

    def affect(self, organization: UUID) -> None:
        """Something about an organization itself changed."""
        self.tick += 1
        self.affected[organization] = self.tick

    def reveal(
        self, scope: set[UUID], photo: Photo, visible: Callable[[Row], bool], left: Collection[UUID]
    ) -> None:
        """A run published the organizations in `scope` as they were in the photo, taken at that tick.

        It read the rows that were `visible`, and whatever was deleted but is not `left`.
        """
        books, tick = photo
        for job, (organizations, at) in list(self.written.items()):
            row = books.jobs.get(job)
            if row is None or row.organization_id not in scope or not visible(row):
                continue
            # Who had the row before has to be published still, unless that is this run's doing.
            for organization in organizations:
                self.affected[organization] = max(at, self.affected.get(organization, 0))
            if at <= tick:
                del self.written[job]
        for organization in scope:
            if self.affected.get(organization, tick + 1) <= tick:
                del self.affected[organization]
        for job, (organizations, at) in list(self.deleted.items()):
            if at <= tick and job not in left and organizations <= scope:
                del self.deleted[job]

    def reveal_owners(self, tick: int) -> None:
        """A run of everybody saw who owned workflows and clients at that tick."""
        self.owners = {key: at for key, at in self.owners.items() if at > tick}

    def clear_of(self, scope: Collection[UUID]) -> set[UUID]:
        """The organizations in `scope` that no unseen change concerns."""
        concerned = set(self.owners) | set(self.affected)
        for organizations, _ in (*self.written.values(), *self.deleted.values()):
            concerned |= organizations
        return set(scope) - concerned

    @staticmethod
    def _of(changes: dict[UUID, tuple[Organizations, int]], job: UUID) -> Organizations:
        return changes.get(job, (frozenset(), 0))[0]
