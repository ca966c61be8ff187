"""Which of a tenant's jobs are meant: those of all workflows, clients and initiators, of one, or of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS
from pipelines.subjects.measures import DIMENSIONS
from pipelines.subjects.rollup import Mask


class Each(Enum):
    """In place of one workflow, client or initiator: a row for each."""

    EACH = "each"


EACH: Final = Each.EACH

_ALL: Final[Mapping[str, UUID | str]] = {
    "workflow_id": ALL_WORKFLOWS,
    "client_id": ALL_CLIENTS,
    "initiator_type": ALL_INITIATORS,
}


@dataclass(frozen=True)
class Slice:
    """A dimension is all together (None), one (an id; `NO_CLIENT` for jobs without), or `EACH`."""

    workflow_id: UUID | Each | None = None
    client_id: UUID | Each | None = None
    initiator_type: str | Each | None = None

    @property
    def mask(self) -> Mask:
        """By which dimensions the cells are broken down that tell of it."""
        mask = Mask.TOTAL
        for name, dimension in DIMENSIONS.items():
            mask |= Mask.TOTAL if getattr(self, name) is None else dimension
        return mask

    @property
    def values(self) -> Mapping[str, UUID | str | None]:
        """The same for a statement, to which NULL is each, and all together a sentinel."""
        return {name: self._value(name, everything) for name, everything in _ALL.items()}

    def _value(self, name: str, everything: UUID | str) -> UUID | str | None:
        asked: UUID | str | Each | None = getattr(self, name)
        if asked is EACH:
            return None
        return everything if asked is None else asked
