"""How grave a line of an execution's log is, and what it says of the step that it names."""

from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """The levels of a line, the least grave first."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    FATAL = "FATAL"


class StepOutcome(StrEnum):
    """How a step ended."""

    COMPLETED = "completed"
    WARNED = "warned"
    FAILED = "failed"


OUTCOMES: Final = {
    Level.TRACE: StepOutcome.COMPLETED,
    Level.DEBUG: StepOutcome.COMPLETED,
    Level.INFO: StepOutcome.COMPLETED,
    Level.WARN: StepOutcome.WARNED,
    Level.ERROR: StepOutcome.FAILED,
    Level.FATAL: StepOutcome.FAILED,
}
