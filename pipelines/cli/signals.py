"""Ending in good order when a person or a supervisor asks for it."""

import os
import signal
import socket
import time
from threading import Thread
from types import FrameType
from typing import Final

# What a shell expects of a program that Ctrl-C ended.
INTERRUPTED: Final = 128 + signal.SIGINT

_ASKING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A second Ctrl-C right after the first must not interrupt the cleaning up; one after so long may.
_PATIENCE_S: Final = 10.0

# Python acts on a signal between two of its own instructions, so a statement under way would delay it.
_PROMPTLY_S: Final = 0.5


class StopSignals:
    """Turns each of them into a KeyboardInterrupt, and remembers which came first."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._last = -_PATIENCE_S

    def install(self) -> None:
        """Listen from now on, except to what our parent ignores on our behalf, as nohup does."""
        for number in _ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
            elif number == signal.SIGINT:
                # What a shell starts in the background ignores it; Dagster would then ignore SIGTERM too.
                signal.signal(number, _disregard)
        told, teller = socket.socketpair()
        teller.setblocking(False)
        signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
        Thread(target=self._cancel_statements, args=(told, teller), daemon=True).start()

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended."""
        return 128 + self.received if self.received else INTERRUPTED

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _PATIENCE_S:
            return
        self.received, self._last = self.received or number, now
        # Drivers cancel their statement on this one, and nothing that catches Exception swallows it.
        raise KeyboardInterrupt

    def _cancel_statements(self, told: socket.socket, _teller: socket.socket) -> None:
        """Send what ADBC listens to while it waits for a statement, and it alone: Ctrl-C."""
        while number := told.recv(1):
            time.sleep(_PROMPTLY_S)
            if number[0] in (signal.SIGTERM, signal.SIGHUP) and self.received is None:
                os.kill(os.getpid(), signal.SIGINT)


def _disregard(_number: int, _frame: FrameType | None) -> None:
    """Ignore a signal, and leave it to those whom we start to do as they like."""
