"""What each column of the source contract holds, which may be absent, and which are never NULL."""

from typing import Final

from pipelines.source.relations import Holds

# What tells which rows changed, and of which table they are; every table has them, a view only by name.
ROW_VERSION: Final = ("xmin", "tableoid")

_IDS: Final = {"id", "organization_id", "workflow_id", "client_id"}
_TIMES: Final = {"created_at", "started_at", "completed_at", "updated_at", "deleted_at"}

# A source without them is complete: nothing is ever deleted, everybody lives in UTC, nobody is named.
OPTIONAL: Final = {"name", "time_zone", "deleted_at", "client_id", "initiator_type"}

NEVER_NULL: Final = {"id", "organization_id", "workflow_id", "status", "created_at", "updated_at"}

# What a run looks rows up by: changes, ranges of completion, ids, one organization.
LOOKED_UP_BY: Final = ("id", "organization_id", "updated_at", "completed_at")

# And this where the table is so large that the nightly digest reads a small part of it.
LOOKED_UP_BY_WHEN_LARGE: Final = (*LOOKED_UP_BY, "created_at")


def held_by(column: str) -> Holds:
    """What the contract wants a column to hold."""
    if column in _IDS:
        return Holds.UUID
    return Holds.INSTANT if column in _TIMES else Holds.TEXT
