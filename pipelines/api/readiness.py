"""Whether questions can be answered now."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from pipelines.errors import DatabaseUnreachable, ExecutionMetricsError

# Whoever asks again so soon hears the same, so that nobody can keep the database busy with it.
_KEPT_S: Final = 1.0

# A database that hangs must not hang every thread of the server.
_PATIENCE_S: Final = 3.0


class Readiness:
    """Asks the database, one request at a time."""

    def __init__(self, require: Callable[[], None]) -> None:
        self._require, self._asking = require, Lock()
        self._known_until = float("-inf")
        self._failure: ExecutionMetricsError | None = None

    def require(self) -> None:
        """Raise why no question can be answered, if so."""
        if not self._asking.acquire(timeout=_PATIENCE_S):
            raise DatabaseUnreachable
        try:
            if time.monotonic() >= self._known_until:
                self._failure = self._ask()
                self._known_until = time.monotonic() + _KEPT_S
        finally:
            self._asking.release()
        if self._failure:
            raise type(self._failure)

    def _ask(self) -> ExecutionMetricsError | None:
        try:
            self._require()
        except ExecutionMetricsError as failure:
            return failure
        return None
