"""The source as the histories wrote it down: plain rows, which no SQL has touched."""

from dataclasses import dataclass, field, replace
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

    def photo(self) -> "Books":
        """The books as they are now, whatever is written later."""
        return replace(
            self,
            zones=dict(self.zones),
            workflows=dict(self.workflows),
            clients=dict(self.clients),
            jobs=dict(self.jobs),
        )
