"""Real databases for the tests: one server a worker, a migrated template, a fresh clone for each test."""

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

import hypothesis
import psycopg
import pytest

from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import migrate
from pipelines.settings import Settings, load_settings
from tests.support.pipeline import Pipeline
from tests.support.sampling import EVERYTHING
from tests.support.watchdog import MARK, discard, start_watchdog, stop_watchdog, watch_worker

# A test server may lose everything in a power cut, so it need not wait for the disk.
UNSAFE_BUT_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    # What is vacuumed or run in parallel is one test's, and gone with it.
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    # Compiling a plan takes longer than any query of a test.
    "jit": "off",
}

# What was freed is kept for what comes next, rather than given back and asked for again.
_KEEPING_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(1024**3),
    "MALLOC_MMAP_THRESHOLD_": str(1024**3),
    "MALLOC_TOP_PAD_": str(64 * 1024**2),
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1",
    # Two threads of Delta have little to share where two processors serve three workers.
    "TOKIO_WORKER_THREADS": "1",
}

# What a developer's shell sets must not decide what is tested.
_FOREIGN_SETTINGS = ("EXECMETRICS_", "DAGSTER_", "PG")

# What takes longest, by parts of names.
_LONG = (
    *("/torture/", "/laws/", "/browser/", "/traces/"),
    *("test_demo", "test_orphans", "test_backfill", "test_program", "test_rebuild", "test_embedded"),
)

# What a sample tries on both servers, too: the SQL that reads a source, locks, and PostgreSQL's own catalog.
_VERSIONS_DIFFER = ("test_source.py", "test_refresh_lock.py", "test_models.py", "test_log_partitions.py")

# What the databases and facts of all workers together take at most.
_ROOM_BYTES = 4 * 1024**3

_FOLDER = pytest.StashKey[Path]()
_WATCHDOG = pytest.StashKey[subprocess.Popen[bytes]]()

CreateDatabase = Callable[..., str]
Cluster = Callable[[str], str]

# Who migrates, refreshes and verifies in the tests.
OWNER = "owner_of_tests"

_numbers = count()

# An open connection to the maintenance database of each server that runs, by its URL.
_admins: dict[str, psycopg.Connection] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Prepare one folder for whatever the tests leave behind; it goes when they end, however they end."""
    config.addinivalue_line("markers", "every_postgres: runs on the embedded server and on the system's 15")
    config.addinivalue_line("markers", "only_in_everything: too long for a sample")
    config.addinivalue_line("markers", "changes_the_planted: has its own copy of what a module's tests share")
    # Nor whether it runs them in the background: they would ignore Ctrl-C, and Dagster then SIGTERM as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says more about the machine than about the code.
    hypothesis.settings.register_profile("ours", deadline=None, max_examples=100 if EVERYTHING else 30)
    hypothesis.settings.load_profile("ours")
    for name in [name for name in os.environ if name.startswith(_FOREIGN_SETTINGS)]:
        del os.environ[name]
    # Looked for more often, garbage took a tenth of a worker's time.
    gc.set_threshold(50_000, 20, 50)
    # A test that forgets to say where its home is has none, rather than that of whoever runs it.
    os.environ["EXECMETRICS_HOME"] = os.devnull
    if is_worker(config):
        whole = Path(config.workerinput["folder"])
        config.stash[_FOLDER] = folder = whole / config.workerinput["workerid"]
        watch_worker(folder)
        if Path(config.option.basetemp).is_relative_to(whole):
            config.option.basetemp = str(folder / "tmp")
        return
    os.environ.update(_KEEPING_MEMORY)
    # A run that a test starts has its folder in that of the test.
    folder = Path(tempfile.mkdtemp(prefix="execmetrics-tests-", dir=os.environ.get(MARK) or _in_memory()))
    config.stash[_FOLDER], config.stash[_WATCHDOG] = folder, start_watchdog(folder)
    # The account of an embedded server has to pass through it.
    folder.chmod(0o711)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    config.option.basetemp = config.option.basetemp or str(folder / "tmp")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist where that folder is."""
    node.workerinput["folder"] = str(node.config.stash[_FOLDER])


def pytest_sessionstart() -> None:
    """Keep what is compiled of the tests: that is a quarter of a worker's time to begin."""
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Never look again for garbage in what was imported, and keep no more of what is compiled."""
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give workers that are interrupted a moment to end, whatever their tests are busy with."""
    watchdog = session.config.stash.get(_WATCHDOG, None)
    if watchdog and exitstatus == pytest.ExitCode.INTERRUPTED:
        watchdog.stdin.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Return when the folder and whatever was still running are gone."""
    # Else DuckDB's binding would take for leaked what the interpreter does not tidy away.
    gc.unfreeze()
    if watchdog := config.stash.get(_WATCHDOG, None):
        stop_watchdog(watchdog)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of a sample what is too long for it.

    Begin with the files that take longest, so that no worker is left alone with one of them.
    """
    if not EVERYTHING:
        left_out = [item for item in items if item.get_closest_marker("only_in_everything")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: not any(name in item.nodeid for name in _LONG))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_postgres"):
        absent = pytest.mark.skipif(system_15() is None, reason="PostgreSQL 15 is not installed here")
        kinds = ["embedded", pytest.param("system", marks=absent)]
        both = EVERYTHING or any(name in metafunc.definition.nodeid for name in _VERSIONS_DIFFER)
        metafunc.parametrize("server", kinds if both else kinds[:1], indirect=True)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A function that starts a server, `embedded` or `system`, unless it runs, and gives its URL.

    A worker has its own: an open transaction of one test would hold back the horizon that another reads.
    The first worker that needs one makes it, with a migrated template; the others copy that.
    """
    folder = pytestconfig.stash[_FOLDER]
    of_all = folder.parent if is_worker(pytestconfig) else folder
    with ExitStack() as servers:

        @cache
        def started(kind: str) -> str:
            programs = system_15() if kind == "system" else None
            home, made = folder / kind, of_all / f"made-{kind}"
            made.mkdir(exist_ok=True)
            with _alone(made):
                if not (made / "postgres").exists():
                    with embedded_postgres.running(made, options=UNSAFE_BUT_FAST, programs=programs) as url:
                        make_template(url)
            copy_server(made, home)
            return servers.enter_context(running_server(home, programs))

        yield started


@pytest.fixture
def server(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The URL of a server's maintenance database, with a migrated template beside it."""
    return cluster(getattr(request, "param", "embedded"))


@pytest.fixture
def create_database(server: str) -> Iterator[CreateDatabase]:
    """A function that makes another database, migrated and empty unless told otherwise, and gives its URL."""
    with creating_databases(server) as create:
        yield create


@pytest.fixture(scope="module")
def create_shared_database() -> Iterator[Callable[..., str]]:
    """The same for the server whose URL it is given; the tests of a module share what it makes."""
    with ExitStack() as servers:

        @cache
        def on(server: str) -> CreateDatabase:
            return servers.enter_context(creating_databases(server))

        yield lambda server, *template: on(server)(*template)


@contextmanager
def running_server(home: Path, programs: Path | None = None) -> Iterator[str]:
    """Start a server, and yield the URL of its maintenance database."""
    with embedded_postgres.running(home, options=UNSAFE_BUT_FAST, programs=programs) as url:
        maintenance = with_database(url, "postgres")
        with psycopg.connect(maintenance, autocommit=True) as _admins[maintenance]:
            yield maintenance


@contextmanager
def creating_databases(server: str) -> Iterator[CreateDatabase]:
    """Yield a function that makes databases on a server, which are dropped when the block ends."""
    made: list[str] = []
    admin = _admins[server]

    def create(template: str = "template_of_tests") -> str:
        name = f"test_{next(_numbers)}"
        # Copying files takes a tenth of the time of writing their pages to the log.
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER} STRATEGY file_copy")
        made.append(name)
        return with_user(with_database(server, name), OWNER)

    yield create
    for name in made:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def databases(create_database: CreateDatabase) -> Databases:
    """A fresh database that is source and analytics at once."""
    url = create_database()
    return Databases(url, url)


@pytest.fixture
def settings(databases: Databases, tmp_path: Path) -> Settings:
    """Settings for `databases`, with facts in a folder of the test's own."""
    urls = {"database_url": databases.analytics_url, "source_url": databases.source_url}
    return load_settings(**urls, home=tmp_path / "home")


@pytest.fixture
def source(databases: Databases) -> Iterator[psycopg.Connection]:
    """A connection to the source that commits every statement; `tests/support/planting.py` plants with it."""
    with psycopg.connect(databases.source_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def analytics(databases: Databases) -> Iterator[psycopg.Connection]:
    """A connection to where the aggregates live, which sees whatever is committed."""
    with psycopg.connect(databases.analytics_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pipeline(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> Pipeline:
    """What a test plants in, runs and looks at."""
    return Pipeline(databases, settings, source, analytics)


@pytest.fixture
def embedded_home(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A home for a test that starts an embedded server itself."""
    with home_for_servers(pytestconfig) as home:
        yield home


@contextmanager
def home_for_servers(config: pytest.Config) -> Iterator[Path]:
    """Yield a new folder for servers of some tests' own: `tmp_path` is closed to their account."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=config.stash[_FOLDER]))
    home.chmod(0o711)
    yield home
    discard(home)


def copy_server(made: Path, home: Path) -> None:
    """Give a home the data of another, whose server is stopped: that takes a tenth of making it."""
    (home / "postgres").mkdir(parents=True)
    subprocess.run(["cp", "-a", made / "postgres" / "data", home / "postgres"], check=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder while no other worker does."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _in_memory() -> Path | None:
    """A folder whose files never wait for a disk, where the machine has one with room for some databases."""
    memory = Path("/dev/shm")
    with suppress(OSError):
        if shutil.disk_usage(memory).free >= _ROOM_BYTES and os.access(memory, os.W_OK):
            return memory
    return None


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for pytest-xdist."""
    return hasattr(config, "workerinput")


@cache
def system_15() -> Path | None:
    """The folder of the system's PostgreSQL 15, if it has one."""
    folders = [Path("/usr/lib/postgresql/15/bin")]
    if on_path := shutil.which("pg_ctl"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        with suppress(OSError):
            command = [folder / "postgres", "--version"]
            if " 15." in subprocess.run(command, capture_output=True, text=True, check=True).stdout:
                return folder
    return None


def with_database(url: str, name: str) -> str:
    """The same server, another database; a URL of a socket has nothing between its slashes."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}/{name}?{path.partition('?')[2]}"


def with_user(url: str, name: str) -> str:
    """The same database as somebody else, who needs no password on these servers."""
    address, _, options = url.partition("?")
    kept = [option for option in options.split("&") if not option.startswith("user=")]
    return f"{address}?{'&'.join([*kept, 'user=' + name.replace(' ', '%20')])}"


def make_template(url: str) -> None:
    """Make a template of a server's; its owner is no superuser, so that row-level security holds for it."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE")
        admin.execute(f"GRANT pg_signal_backend, pg_read_all_stats, pg_read_all_settings TO {OWNER}")
        # What a test counts, it reads in the server's log.
        admin.execute(f"GRANT SET ON PARAMETER log_statement TO {OWNER}")
        admin.execute(f"CREATE DATABASE template_of_tests OWNER {OWNER}")
    template = with_user(with_database(url, "template_of_tests"), OWNER)
    migrate(
        Run(
            Databases(template, template),
            load_settings(database_url=template, home=Path(tempfile.gettempdir())),
        )
    )
