"""What takes longer to open than all that is asked of it in a history, kept open from run to run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from pipelines.storage import snapshot


class _Kept:
    """A connection that is rolled back where it would be closed, unless something went wrong with it."""

    def __init__(self, connections: dict[str, Any], url: str, connection: Any) -> None:
        self._connections, self._url, self._connection = connections, url, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> "_Kept":
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is None:
            self._connection.rollback()
            self._connections[self._url] = self._connection
        else:
            self._connection.close()


@contextmanager
def connections_kept_open() -> Iterator[None]:
    """Keep one connection to each source, which every run has as good as new."""
    kept: dict[str, Any] = {}
    connect = snapshot.dbapi.connect

    def kept_or_new(url: str) -> _Kept:
        return _Kept(kept, url, kept.pop(url, None) or connect(url))

    try:
        with patch.object(snapshot.dbapi, "connect", kept_or_new):
            yield
    finally:
        for connection in kept.values():
            connection.close()
