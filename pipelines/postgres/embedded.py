"""A PostgreSQL of our own, for machines that have none: started on first use, stopped by the last user.

For Linux and macOS, where an advisory file lock ends with the process that held it, however it died.
"""

import fcntl
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from pipelines.errors import EmbeddedPostgresError
from pipelines.postgres.programs import Account, Programs, find_programs

_DATABASE: Final = "execmetrics"

# The kernel cuts a socket's address off after so many bytes.
_LONGEST_ADDRESS: Final = 107 if sys.platform == "linux" else 103

# Where the data goes when the server's account may not enter the home of root; the first is customary.
_OTHER_PLACES: Final = ("/var/lib", "/var/tmp")

# Long enough for the recovery after a crash.
_PATIENCE_S: Final = 60

# Workers of a killed server hold its memory until they notice, a moment later.
_STILL_IN_USE: Final = "pre-existing shared memory block"


@contextmanager
def running(
    home: Path, *, options: Mapping[str, str] | None = None, programs: Path | None = None
) -> Iterator[str]:
    """Yield the URL of the server that keeps its data under `home`; start it if it is down.

    Any number of processes may hold it at once: the last one to leave stops it, and one that is killed
    counts as having left. `options` are server settings and `programs` a folder such as
    /usr/lib/postgresql/15/bin; both matter only to the call that starts the server.
    Raises `EmbeddedPostgresError`.
    """
    with _in_sentences():
        server = _settled(home.resolve() / "postgres", programs or find_programs())
    with _lock_file(server.place / "lock") as turn, _lock_file(server.place / "lease") as lease:
        fcntl.flock(lease, fcntl.LOCK_SH)
        try:
            with _alone(turn), _in_sentences():
                server.start(options or {})
            yield server.url()
        finally:
            with _alone(turn), _in_sentences():
                if _nobody_else_shares(lease):
                    server.stop()


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    """Yield an open file whose locks end with this process, if not before.

    Opened for reading, so that root and the owner of the home can take turns.
    """
    with _in_sentences():
        file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """Wait until nobody else holds the lock of a file, and hold it."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _nobody_else_shares(file: int) -> bool:
    """Whether that is so; from now on we do not either."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_UN)
        return False
    return True


@dataclass(frozen=True)
class _Server:
    """A place with a data directory and a socket, and the programs to run on it."""

    place: Path
    programs: Programs

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @property
    def socket(self) -> Path:
        """The private folder of the socket, or a link to one whose name is short enough."""
        return self.place / "socket"

    def url(self, database: str = _DATABASE) -> str:
        # All of it is said, so that no variable of the shell is asked.
        host = quote(str(self.socket.resolve()), safe="")
        return f"postgresql:///{database}?host={host}&hostaddr=&port=5432&user={_DATABASE}"

    def start(self, options: Mapping[str, str]) -> None:
        if not self.data.exists():
            self._create()
        self._forget_the_dead()
        if not self._is_up():
            self._refuse_other_versions()
            # A killed server left its socket there, with the number of a process that may look alive.
            self._remove_socket()
            self._provide_socket()
            self._start(options)
        self._create_database()

    def stop(self) -> None:
        if not self.data.exists():
            return
        self._forget_the_dead()
        for mode in ("fast", "immediate"):
            if self._is_up():
                self._control("stop", "-m", mode)
        self._remove_socket()

    def _create(self) -> None:
        """Make the data directory beside its place, so that a kill leaves no half of one."""
        for abandoned in self.place.glob("unfinished-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.place))
        self.programs.account.own(unfinished)
        made = self.programs.run(
            "initdb",
            *("-D", unfinished, "-U", _DATABASE, "--encoding=UTF8"),
            # C.UTF-8 may be missing outside Linux; both sort by code point.
            f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}",
            *("--auth-local=trust", "--auth-host=reject"),
        )
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb said: {_verdict(made.stderr)}")
        unfinished.rename(self.data)

    def _forget_the_dead(self) -> None:
        """Remove the mark of a killed server that pg_ctl would take for alive.

        Its process may be a zombie, as in a container without init, or its number may be another's by now.
        """
        mark = self.data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            process = Path("/proc", str(int(mark.read_text().split()[0])))
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z" or not (process / "cwd").samefile(self.data):
                mark.unlink()

    def _is_up(self) -> bool:
        return self.programs.run("pg_ctl", "status", "-D", self.data).returncode == 0

    def _refuse_other_versions(self) -> None:
        stored, ours = (self.data / "PG_VERSION").read_text().strip(), self.programs.major_version
        if stored != ours:
            raise EmbeddedPostgresError(
                f"{self.data} was made by PostgreSQL {stored} and this is {ours}: "
                "move it away to begin anew, or dump it with the old version and load it here."
            )

    def _start(self, options: Mapping[str, str]) -> None:
        if set(f"{self.data}{self.programs.folder}") & set('"$`\\'):
            raise EmbeddedPostgresError(
                f'The path of EXECMETRICS_HOME may have none of the characters " $ ` \\ but is {self.data}'
            )
        socket = str(self.socket.resolve())
        settings = {"listen_addresses": "", "unix_socket_directories": socket, "port": "5432", **options}
        words = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        deadline = time.monotonic() + _PATIENCE_S
        said = len(self._log_text())
        while not self._control("start", "-l", self.log, "-o", words) and not self._is_up():
            if _STILL_IN_USE not in self._log_text()[said:] or time.monotonic() > deadline:
                raise self._failure()
            said = len(self._log_text())
            time.sleep(0.2)

    def _create_database(self) -> None:
        with self._first_connection() as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {_DATABASE}")

    def _first_connection(self) -> psycopg.Connection:
        """Connect as soon as it lets us: a server that we found may still be recovering."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=_PATIENCE_S)
            except psycopg.OperationalError as refused:
                if not self._is_up() or time.monotonic() > deadline:
                    raise self._failure() from refused
                time.sleep(0.1)

    def _provide_socket(self) -> None:
        account = self.programs.account
        if not self.socket.is_symlink() and _fits_an_address(self.socket):
            self.socket.mkdir(mode=0o700, exist_ok=True)
            account.own(self.socket)
        elif not account.owns(self.socket.resolve()) or not self.socket.is_symlink():
            self._remove_socket()
            short = _private_folder(account, [tempfile.gettempdir(), "/tmp", "/var/tmp"], _fits_an_address)
            self.socket.symlink_to(short)

    def _remove_socket(self) -> None:
        if self.socket.is_symlink():
            if self.programs.account.owns(self.socket.readlink()):
                shutil.rmtree(self.socket.readlink(), ignore_errors=True)
            self.socket.unlink()
        else:
            shutil.rmtree(self.socket, ignore_errors=True)

    def _control(self, action: str, *arguments: str | Path) -> bool:
        waiting = ("-w", "-t", str(_PATIENCE_S))
        return self.programs.run("pg_ctl", action, "-D", self.data, *waiting, *arguments).returncode == 0

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _failure(self) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(f"It said: {_verdict(self._log_text())} ({self.log})")


def _settled(folder: Path, programs: Path) -> _Server:
    """Decide, once for each home, where its server lives and as whom it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder / "lock") as turn, _alone(turn):
        elsewhere = folder / "elsewhere"
        place = elsewhere.resolve() if elsewhere.is_dir() else folder
        data = place / "data"
        account = Account.owning(data) if data.exists() else Account.for_new_data()
        if not account.may_enter(place):
            if data.exists():
                raise EmbeddedPostgresError(f"{account} owns {data} and may no longer go there.")
            place = _private_folder(account, [*_OTHER_PLACES, tempfile.gettempdir()])
            (place / "home").write_text(f"{folder.parent}\n")
            elsewhere.unlink(missing_ok=True)
            elsewhere.symlink_to(place)
        return _Server(place, Programs.for_account(programs, account, copies=place))


def _private_folder(account: Account, parents: Sequence[str], fits: Callable[[Path], bool] = bool) -> Path:
    """A new folder of the account's own, in the first place that allows one."""
    for parent in parents:
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="execmetrics-", dir=parent))
            account.own(folder)
            if fits(folder) and account.may_enter(folder):
                return folder
            folder.rmdir()
    raise EmbeddedPostgresError(f"{account} found no folder to work in, among {', '.join(parents)}.")


def _fits_an_address(folder: Path) -> bool:
    """Whether a socket in it has a valid address; a comma would separate two, a quote begin one."""
    return len(os.fsencode(folder / ".s.PGSQL.5432")) <= _LONGEST_ADDRESS and not set(str(folder)) & set(',"')


def _verdict(log: str) -> str:
    """The last line that names a failure, else the last line."""
    lines = log.strip().splitlines() or ["nothing"]
    return next((line for line in reversed(lines[-20:]) if "FATAL:" in line or "PANIC:" in line), lines[-1])


@contextmanager
def _in_sentences() -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        raise EmbeddedPostgresError(f"{refused.strerror}: {refused.filename}") from refused
