"""A program that carries connections to a PostgreSQL server, and cuts one when it is told to.

A process of its own: some drivers let no other thread of theirs run while they wait for an answer. It takes
the socket of the server and the one to listen on. Each line that it reads is a rule in JSON, from which on it
counts anew; each line that it writes says how many statements it has carried and how many it has cut.
"""

import json
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

# Messages of a client: a statement, or a part of one that ends with a `sync`.
STATEMENT, PARSED, SYNC = b"Q", b"P", b"S"

# Messages of a server: it waits for the next statement, or for the rows of a COPY.
READY, COPYING = b"Z", b"G"

NEVER = {"at": -1, "cut": "before", "only_publications": False, "then_refuse": False}


class Carrier:
    """Carries connections from one socket to another."""

    def __init__(self, server: str, listening: str) -> None:
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listening)
        self._listener.listen()
        self._lock = threading.Lock()
        self.obey(NEVER)

    def obey(self, rule: dict[str, Any]) -> None:
        """Count from 0 again, and cut at the statement that the rule says."""
        with self._lock:
            self._rule, self._counted = rule, 0
            self.statements = self.cuts = 0
            self._refusing = False

    def accept(self) -> None:
        """Carry whoever comes, for ever."""
        while True:
            client, _ = self._listener.accept()
            if self._refusing:
                client.close()
            else:
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, suppress(OSError, EOFError):
            server.connect(self._server)
            answers = Answers(server, client)
            said: list[bytes] = []
            # The first message has no kind.
            server.sendall(sized(client))
            answers.start()
            while True:
                kind, whole = message(client)
                cut = None
                if kind in (STATEMENT, PARSED):
                    said.append(whole)
                    cut = self._decided(said)
                if cut == "before":
                    break
                if cut == "after":
                    answers.withheld = True
                    server.sendall(whole)
                    while kind not in (STATEMENT, SYNC):
                        kind, whole = message(client)
                        server.sendall(whole)
                    answers.complete.wait(timeout=30)
                    break
                server.sendall(whole)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)

    def _decided(self, said: list[bytes]) -> str | None:
        publishes = b"COMMIT\0" in said[-1] and any(b"INTO analytics.watermarks" in each for each in said)
        with self._lock:
            self.statements += 1
            if self._rule["only_publications"] and not publishes:
                return None
            self._counted += 1
            if self._counted != self._rule["at"] + 1:
                return None
            self.cuts += 1
            self._refusing = self._rule["then_refuse"]
            return str(self._rule["cut"])


class Answers(threading.Thread):
    """What the server says, carried back unless it is withheld."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self._server, self._client = server, client
        self.withheld = False
        self.complete = threading.Event()

    def run(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                kind, whole = message(self._server)
                if not self.withheld:
                    self._client.sendall(whole)
                elif kind in (READY, COPYING):
                    self.complete.set()
        # A server that goes away is gone for the client, too.
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def message(sender: socket.socket) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it."""
    kind = exactly(sender, 1)
    return kind, kind + sized(sender)


def sized(sender: socket.socket) -> bytes:
    """What begins with its own size."""
    size = exactly(sender, 4)
    return size + exactly(sender, int.from_bytes(size) - 4)


def exactly(sender: socket.socket, count: int) -> bytes:
    """So many bytes; raises `EOFError` when the sender ends before."""
    received = b""
    while len(received) < count:
        more = sender.recv(count - len(received))
        if not more:
            raise EOFError
        received += more
    return received


def main(server: str, listening: str) -> None:
    """Carry until nobody tells us anything any more."""
    carrier = Carrier(server, listening)
    threading.Thread(target=carrier.accept, daemon=True).start()
    while line := sys.stdin.readline():
        carried = {"statements": carrier.statements, "cuts": carrier.cuts}
        carrier.obey(json.loads(line))
        sys.stdout.write(json.dumps(carried) + "\n")
        sys.stdout.flush()
    Path(listening).unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
