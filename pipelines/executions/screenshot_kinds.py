"""Why a picture of an execution was taken."""

from enum import StrEnum


class ScreenshotType(StrEnum):
    """After a step, at an error, or at the end."""

    STEP = "STEP"
    ERROR = "ERROR"
    FINAL = "FINAL"
