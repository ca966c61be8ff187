"""How a run is followed: what it is doing, how far it is, and how long each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[str, int], None]


class Stages:
    """The stages of one run; `seconds` adds up what each took, wall time."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self._on_progress = on_progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the body's time as this stage's."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun

    def tell(self, stage: str, rows: int) -> None:
        """Say how many rows a stage has done so far."""
        if self._on_progress:
            self._on_progress(stage, rows)
