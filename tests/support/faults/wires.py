"""A wire between us and PostgreSQL: a program that carries connections, and cuts one when it is asked to.

A process of its own: some drivers let no other thread of theirs run while they wait for an answer. It takes
the socket of the server and the one to listen on. Each line that it reads is a rule in JSON, from which on it
counts anew; each line that it writes says how many statements it has carried and how many it has cut.
"""

import asyncio
import json
import subprocess
import sys
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


Reader, Writer, Event = asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event


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
    """Carries connections to the socket of a server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.obey(Rule())

    def obey(self, rule: Rule) -> None:
        """Count from 0 again, and cut at the statement that the rule says."""
        self._rule, self._counted, self._refusing = rule, 0, False
        self.statements = self.cuts = 0

    async def carry(self, client: Reader, to_client: Writer) -> None:
        """Carry one connection until either side ends it, or it is cut."""
        if self._refusing:
            to_client.close()
            return
        server, to_server = await asyncio.open_unix_connection(self._server)
        dropped, complete = Event(), Event()
        answers = asyncio.create_task(_carry_back(server, to_client, dropped, complete))
        with suppress(OSError, EOFError):
            # The first message has no kind.
            to_server.write(await _sized(client))
            said: list[bytes] = []
            cut = None
            while cut is None:
                kind, whole = await _message(client)
                if kind in (STATEMENT, PARSED):
                    said.append(whole)
                    cut = self._decided(said)
                if cut == Cut.AFTER:
                    dropped.set()
                if cut != Cut.BEFORE:
                    to_server.write(whole)
                    await to_server.drain()
            while cut == Cut.AFTER and kind not in (STATEMENT, SYNC):
                kind, whole = await _message(client)
                to_server.write(whole)
            if cut == Cut.AFTER:
                await asyncio.wait_for(complete.wait(), timeout=30)
        to_server.close()
        to_client.close()
        answers.cancel()

    def _decided(self, said: list[bytes]) -> str | None:
        publishes = b"COMMIT\0" in said[-1] and any(b"INTO analytics.watermarks" in each for each in said)
        self.statements += 1
        if self._rule.only_publications and not publishes:
            return None
        self._counted += 1
        if self._counted != self._rule.at + 1:
            return None
        self.cuts += 1
        self._refusing = self._rule.then_refuse
        return self._rule.cut


async def _carry_back(
    server: Reader, client: Writer, dropped: asyncio.Event, complete: asyncio.Event
) -> None:
    """Carry back what the server says, unless it is to be dropped."""
    with suppress(OSError, EOFError):
        while True:
            kind, whole = await _message(server)
            if not dropped.is_set():
                client.write(whole)
                await client.drain()
            elif kind in (READY, COPYING):
                complete.set()
    # A server that goes away is gone for the client, too.
    client.close()


async def _message(sender: Reader) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it; raises `EOFError` when the sender ends before."""
    kind = await sender.readexactly(1)
    return kind, kind + await _sized(sender)


async def _sized(sender: Reader) -> bytes:
    """What begins with its own size."""
    size = await sender.readexactly(4)
    return size + await sender.readexactly(int.from_bytes(size) - 4)


async def _serve(server: str, listening: str) -> None:
    """Carry whoever comes, and obey each line that is read, until there is none."""
    carrier, lines = _Carrier(server), asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await asyncio.start_unix_server(carrier.carry, listening)
    while line := await lines.readline():
        sys.stdout.write(json.dumps({"statements": carrier.statements, "cuts": carrier.cuts}) + "\n")
        carrier.obey(Rule(**json.loads(line)))
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
    Path(sys.argv[2]).unlink(missing_ok=True)
