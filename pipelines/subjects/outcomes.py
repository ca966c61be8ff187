"""What a run made of one organization."""

from enum import StrEnum


class Outcome(StrEnum):
    """How it ended; a failed organization keeps its cursor, so the next run tries again."""

    PUBLISHED = "published"
    FAILED = "failed"


class OutcomeOf(StrEnum):
    """What of an organization was to be published."""

    JOBS = "jobs"
    STEPS = "steps"
