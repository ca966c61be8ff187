"""Why a source row is not taken at face value, why a published figure changed, and how a run ended."""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """What is wrong with a row."""

    NEGATIVE_DURATION = "negative_duration"
    MISSING_TIMESTAMP = "missing_timestamp"
    INFINITE_TIMESTAMP = "infinite_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    FUTURE_TIMESTAMP = "future_timestamp"
    RESERVED_IDENTIFIER = "reserved_identifier"
    INITIATOR_TYPE_TOO_LONG = "initiator_type_too_long"
    FOREIGN_WORKFLOW = "foreign_workflow"
    FOREIGN_CLIENT = "foreign_client"
    UNKNOWN_STATUS = "unknown_status"


class Effect(StrEnum):
    """What the row is left out of."""

    NOT_COUNTED = "not_counted"
    NOT_TIMED = "not_timed"


EFFECTS: Final = {
    reason: Effect.NOT_TIMED if reason is Reason.NEGATIVE_DURATION else Effect.NOT_COUNTED
    for reason in Reason
}

NOT_COUNTED: Final = tuple(reason for reason in Reason if EFFECTS[reason] is Effect.NOT_COUNTED)

# These end without the row itself changing: time passes, or a workflow or client changes hands.
HEAL_BY_THEMSELVES: Final = (Reason.FUTURE_TIMESTAMP, Reason.FOREIGN_WORKFLOW, Reason.FOREIGN_CLIENT)


class Restated(StrEnum):
    """The reason that is kept beside the figures before and after."""

    LATE = "late"
    EDITED = "edited"
    RETRIED = "retried"
    DELETED = "deleted"
    TIME_ZONE = "time_zone"
    DEFINITION = "definition"
    BACKFILL = "backfill"
    DRIFT = "drift"


# Where several jobs changed one cell, the reason that a reader would least expect is told.
BY_WEIGHT: Final = (Restated.DELETED, Restated.EDITED, Restated.RETRIED, Restated.LATE)


class Outcome(StrEnum):
    """How a run ended for one organization; after a failure the next run tries again."""

    PUBLISHED = "published"
    FAILED = "failed"
