"""Wires between us and PostgreSQL, and when to cut them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

PROGRAM = Path(__file__).with_name("wire.py")


class Cut(StrEnum):
    """Whether a statement arrives and is carried out before its wire is cut; its answer does not come."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Rule:
    """At which statement to cut, counted from 0: of all, or of the COMMITs of publications.

    Whoever connects then may be refused.
    """

    at: int
    cut: Cut
    only_publications: bool = False
    then_refuse: bool = False


@dataclass(frozen=True)
class Carried:
    """How many statements went over the wire, and how many of them did not come through."""

    statements: int
    cuts: int


NEVER = Rule(-1, Cut.BEFORE)


class Wire:
    """A process that carries what is said to a server; `url` is the same database by way of it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def told(self, rule: Rule = NEVER) -> Carried:
        """Have it obey a rule and count anew; return what it has carried under the last one."""
        self._process.stdin.write(json.dumps(asdict(rule)) + "\n")
        self._process.stdin.flush()
        return Carried(**json.loads(self._process.stdout.readline()))


@contextmanager
def laid(server_url: str) -> Iterator[Wire]:
    """Yield a wire to a server's database."""
    server = conninfo_to_dict(server_url)
    # The address of a socket has to be short.
    with TemporaryDirectory(prefix="wire-") as folder:
        sockets = [f"{host}/.s.PGSQL.5432" for host in (server["host"], folder)]
        process = subprocess.Popen(
            [sys.executable, PROGRAM, *sockets], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            host = quote(folder, safe="")
            wire = Wire(process, f"postgresql:///{server['dbname']}?host={host}&user={server['user']}")
            wire.told()
            yield wire
            process.stdin.close()
