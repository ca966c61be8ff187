"""Why figures changed after their period had been published."""

from enum import StrEnum
from typing import Final


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
