"""By what cells are broken down, and the values that stand for "all", "none" and "unknown"."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

# A unique key cannot hold NULL twice, so "all workflows" is a value, not an absence.
ALL_WORKFLOWS: Final = UUID(int=0)
ALL_CLIENTS: Final = UUID(int=0)
ALL_INITIATORS: Final = "all"

# Jobs without a client form a group of their own, which must not look like the total.
NO_CLIENT: Final = UUID(int=2**128 - 1)
UNKNOWN_INITIATOR: Final = "unknown"

# Real ids that equal one of these could not be told from the sentinel itself.
RESERVED_IDS: Final = frozenset({ALL_WORKFLOWS, ALL_CLIENTS, NO_CLIENT})
RESERVED_INITIATORS: Final = frozenset({ALL_INITIATORS})

# As statements take them.
ALL_OF_EACH: Final[dict[str, Any]] = {
    "all_workflows": ALL_WORKFLOWS,
    "all_clients": ALL_CLIENTS,
    "all_initiators": ALL_INITIATORS,
}


@dataclass(frozen=True)
class Dimension:
    """A column of facts and of cells; `type` is `uuid` or `text`.

    A cell that is not broken down by it holds `every`; rows without a value count under `none`, which is None
    where every row has a value. `short` names it where it is a number.
    """

    column: str
    type: str
    short: str
    every: UUID | str
    comment: str
    none: UUID | str | None = None

    @property
    def noun(self) -> str:
        """What one value is called, such as `initiator type`."""
        return self.column.removesuffix("_id").replace("_", " ")

    @property
    def flag(self) -> str | None:
        """The field that says that rows have no value, where None would mean all together."""
        return f"has_no_{self.short}" if self.none is not None and self.type == "uuid" else None


WORKFLOW: Final = Dimension(
    "workflow_id",
    "uuid",
    "workflow",
    ALL_WORKFLOWS,
    f"The workflow, or {ALL_WORKFLOWS} for all workflows together.",
)
CLIENT: Final = Dimension(
    "client_id",
    "uuid",
    "client",
    ALL_CLIENTS,
    f"The client, or {ALL_CLIENTS} for all clients together, or {NO_CLIENT} for the jobs without a client.",
    NO_CLIENT,
)
INITIATOR: Final = Dimension(
    "initiator_type",
    "text",
    "initiator",
    ALL_INITIATORS,
    f"The initiator type, or '{ALL_INITIATORS}' for all together,"
    f" or '{UNKNOWN_INITIATOR}' for the jobs that name none.",
    UNKNOWN_INITIATOR,
)
# Steps of all names together are never counted, so no name means all of them.
STEP: Final = Dimension("step_name", "text", "step", "", "The step, by its name: the first 200 characters.")
