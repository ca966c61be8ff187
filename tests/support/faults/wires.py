"""A wire between us and PostgreSQL: a program that carries connections, and cuts one when it is asked to.

A process of its own: some drivers let no other thread of theirs run while they wait for an answer. It takes
the socket of the server and the one to listen on. Each line that it reads is a rule in JSON, from which on it
counts anew; each line that it writes says how many statements it has carried and how many it has cut.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

# Messages of a client: a statement, or a part of one that ends with a `sync`.
STATEMENT, PARSED, SYNC = b"Q", b"P", b"S"

# Messages of a server: it waits for the next statement, or for the rows of a COPY.
READY, COPYING = b"Z", b"G"


class Cut(StrEnum):
    """Whether a statement arrives and is carried out before its wire is cut; its answer does not come."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Rule:
    """At which statement to cut, counted from 0: of all, or of the COMMITs of publications.

    Whoever connects then may be refused.
    """

    at: int = -1
    cut: str = Cut.BEFORE
    only_publications: bool = False
    then_refuse: bool = False


@dataclass(frozen=True)
class Carried:
    """How many statements went over the wire, and how many of them did not come through."""

    statements: int
    cuts: int


class Wire:
    """A process that carries what is said to a server; `url` is the same database by way of it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def told(self, rule: Rule = Rule()) -> Carried:
        """Have it obey a rule and count anew; return what it has carried under the last one."""
        self._process.stdin.write(json.dumps(asdict(rule)) + "\n")
        self._process.stdin.flush()
        return Carried(**json.loads(self._process.stdout.readline()))


@contextmanager
def laid(server_url: str) -> Iterator[Wire]:
    """Yield a wire to a server's database."""
    # The program itself needs no driver, and starts sooner without one.
    from psycopg.conninfo import conninfo_to_dict

    server = conninfo_to_dict(server_url)
    # The address of a socket has to be short.
    with TemporaryDirectory(prefix="wire-") as folder:
        sockets = [f"{host}/.s.PGSQL.5432" for host in (server["host"], folder)]
        command, pipe = [sys.executable, __file__, *sockets], subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            host = quote(folder, safe="")
            wire = Wire(process, f"postgresql:///{server['dbname']}?host={host}&user={server['user']}")
            wire.told()
            yield wire
            process.stdin.close()


class _Carrier:
    """Carries connections from one socket to another."""

    def __init__(self, server: str, listening: str) -> None:
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listening)
        self._listener.listen()
        self._lock = threading.Lock()
        self.obey(Rule())

    def obey(self, rule: Rule) -> None:
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
            answers = _Answers(server, client)
            said: list[bytes] = []
            # The first message has no kind.
            server.sendall(_sized(client))
            answers.start()
            while True:
                kind, whole = _message(client)
                cut = None
                if kind in (STATEMENT, PARSED):
                    said.append(whole)
                    cut = self._decided(said)
                if cut == Cut.BEFORE:
                    break
                if cut == Cut.AFTER:
                    answers.dropped = True
                    server.sendall(whole)
                    while kind not in (STATEMENT, SYNC):
                        kind, whole = _message(client)
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
            if self._rule.only_publications and not publishes:
                return None
            self._counted += 1
            if self._counted != self._rule.at + 1:
                return None
            self.cuts += 1
            self._refusing = self._rule.then_refuse
            return self._rule.cut


class _Answers(threading.Thread):
    """What the server says, carried back unless it is to be dropped."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self._server, self._client = server, client
        self.dropped = False
        self.complete = threading.Event()

    def run(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                kind, whole = _message(self._server)
                if not self.dropped:
                    self._client.sendall(whole)
                elif kind in (READY, COPYING):
                    self.complete.set()
        # A server that goes away is gone for the client, too.
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def _message(sender: socket.socket) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it."""
    kind = _exactly(sender, 1)
    return kind, kind + _sized(sender)


def _sized(sender: socket.socket) -> bytes:
    """What begins with its own size."""
    size = _exactly(sender, 4)
    return size + _exactly(sender, int.from_bytes(size) - 4)


def _exactly(sender: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes; raises `EOFError` when the sender ends before."""
    received = b""
    while len(received) < count:
        more = sender.recv(count - len(received))
        if not more:
            raise EOFError
        received += more
    return received


if __name__ == "__main__":
    server, listening = sys.argv[1:]
    carrier = _Carrier(server, listening)
    threading.Thread(target=carrier.accept, daemon=True).start()
    while line := sys.stdin.readline():
        sys.stdout.write(json.dumps({"statements": carrier.statements, "cuts": carrier.cuts}) + "\n")
        carrier.obey(Rule(**json.loads(line)))
        sys.stdout.flush()
    Path(listening).unlink(missing_ok=True)
