"""Listening at an address, until somebody wants it to end."""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

import uvicorn
from fastapi import FastAPI

from pipelines.errors import AddressNotUsable, PortInUse, ServerEnded

# Requests under way may end; connections that are only kept open may not hold up who waits.
_PATIENCE_S: Final = 5

# Polars lets a wait for a lock go on after a signal, so one without an end would never notice Ctrl-C.
_GLANCE_S: Final = 0.2


@dataclass(frozen=True)
class Serving:
    """An application that answers at an address."""

    address: str
    _ended: Event

    def wait(self) -> None:
        """Wait until it ends by itself, which raises `ServerEnded`."""
        _wait_for(self._ended)
        raise ServerEnded


@contextmanager
def serving(app: FastAPI, host: str, port: int) -> Iterator[Serving]:
    """Answer requests inside the block, on port 0 at any free one.

    Raises `PortInUse`, `AddressNotUsable`.
    """
    with _listening(host, port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                # Requests name tenants, and are nobody's business but theirs.
                access_log=False,
                log_config=None,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_PATIENCE_S,
            )
        )
        ended = Event()

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                ended.set()

        # Signals are the command line's, and uvicorn leaves them alone in another thread.
        Thread(target=run, name="serving").start()
        try:
            while not server.started and not ended.is_set():
                time.sleep(0.01)
            name = f"[{host}]" if ":" in host else host
            yield Serving(f"http://{name}:{listener.getsockname()[1]}", ended)
        finally:
            server.should_exit = True
            _wait_for(ended)


def _wait_for(ended: Event) -> None:
    while not ended.wait(_GLANCE_S):
        pass


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as refused:
        if refused.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUse(f"({port})") from refused
        raise AddressNotUsable(f"({host})") from refused
