"""What a run made of one organization."""

from enum import StrEnum


class Outcome(StrEnum):
    """How it ended; a failed organization keeps its cursor, so the next run tries again."""

    PUBLISHED = "published"
    FAILED = "failed"
