"""The values that stand for "all", "none" and "unknown" in the dimensions of an aggregate."""

from typing import Any, Final
from uuid import UUID

# A unique key cannot hold NULL twice, so "all workflows" is a value, not an absence.
ALL_WORKFLOWS: Final = UUID(int=0)
ALL_CLIENTS: Final = UUID(int=0)
ALL_INITIATORS: Final = "all"

# As statements take them.
ALL_OF_EACH: Final[dict[str, Any]] = {
    "all_workflows": ALL_WORKFLOWS,
    "all_clients": ALL_CLIENTS,
    "all_initiators": ALL_INITIATORS,
}

# Jobs without a client form a group of their own, which must not look like the total.
NO_CLIENT: Final = UUID(int=2**128 - 1)
UNKNOWN_INITIATOR: Final = "unknown"

# Real ids that equal one of these could not be told from the sentinel itself.
RESERVED_IDS: Final = frozenset({ALL_WORKFLOWS, ALL_CLIENTS, NO_CLIENT})
RESERVED_INITIATORS: Final = frozenset({ALL_INITIATORS})
