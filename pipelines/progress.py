"""How a run is followed: what it is doing, how far it is, and how long each stage took."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

OnProgress = Callable[[str, int], None]


class Stages:
    """The stages of one run; `seconds` adds up what each took, wall time. Stages may overlap."""

    def __init__(
        self, on_progress: OnProgress | None = None, seconds: Mapping[str, float] | None = None
    ) -> None:
        self._on_progress = on_progress
        self.seconds: dict[str, float] = dict(seconds or {})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the body's time as this stage's."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun

    def timed_each(self, stage: str, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the same items, and count the time that each takes to come as this stage's."""
        with closing(items):
            while True:
                with self.timed(stage):
                    made = list(islice(items, 1))
                if not made:
                    return
                yield made[0]

    def tell(self, stage: str, rows: int) -> None:
        """Say how many rows a stage has done so far."""
        if self._on_progress:
            self._on_progress(stage, rows)
