"""What each column of the source contract holds, which may be absent, and which are never NULL."""

from collections.abc import Mapping
from typing import Final

from pipelines.model.jobs import Status
from pipelines.model.relations import Holds

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

# Other words for what the contract calls otherwise; words that could mean several are not here.
_OTHER_WORDS: Final[Mapping[str, Status]] = {
    "QUEUED": Status.PENDING,
    "WAITING": Status.PENDING,
    "INPROGRESS": Status.RUNNING,
    "PROCESSING": Status.RUNNING,
    "SUCCESS": Status.COMPLETED,
    "SUCCEEDED": Status.COMPLETED,
    "SUCCESSFUL": Status.COMPLETED,
    "ERROR": Status.FAILED,
    "ERRORED": Status.FAILED,
    "FAILURE": Status.FAILED,
    "CANCELED": Status.CANCELLED,
}


def held_by(column: str) -> Holds:
    """What the contract wants a column to hold."""
    if column in _IDS:
        return Holds.UUID
    return Holds.INSTANT if column in _TIMES else Holds.TEXT


def status_meant_by(label: str) -> Status | None:
    """The status that a label is another word for, however it is spelt; None when nobody can tell."""
    word = "".join(character for character in label.upper() if character.isalnum())
    return _OTHER_WORDS.get(word) or next((status for status in Status if status == word), None)
