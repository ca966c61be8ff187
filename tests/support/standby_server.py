"""A primary and a hot standby that follows it, each with a socket of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import migrate
from pipelines.postgres.programs import Account, Programs, find_programs
from pipelines.settings import load_settings
from tests.conftest import with_database

# What is committed has to be written, for the standby to hear of it.
UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off"}
PATIENCE_S = 60


@dataclass(frozen=True)
class Pair:
    """Two servers with the same databases."""

    primary: str
    standby: str

    def with_new_database(self) -> "Pair":
        """The same servers, and another database on them that is migrated and empty."""
        template = conninfo_to_dict(self.primary)["dbname"]
        with psycopg.connect(with_database(self.primary, "postgres"), autocommit=True) as primary:
            name = f"{template}_{primary.execute('SELECT count(*) FROM pg_database').fetchone()[0]}"
            primary.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self.catch_up()
        return Pair(with_database(self.primary, name), with_database(self.standby, name))

    def written(self) -> str:
        """How far the primary has written its log."""
        with psycopg.connect(self.primary, autocommit=True) as primary:
            return primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]

    def has_replayed(self, written: str) -> bool:
        """Whether the standby has replayed the log that far; no if it throws out whoever asks."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.standby, autocommit=True) as standby:
            return standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", [written]).fetchone()[0]
        return False

    def catch_up(self) -> None:
        """Wait until the standby has replayed everything that the primary has written."""
        written = self.written()
        wait_until(lambda: self.has_replayed(written))

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Let the standby hear nothing of its primary."""
        with psycopg.connect(self.standby, autocommit=True) as standby:
            (where,) = standby.execute("SHOW primary_conninfo").fetchone()
            self._follow(standby, "")
            try:
                yield
            finally:
                self._follow(standby, where)

    @staticmethod
    def _follow(standby: psycopg.Connection, where: str) -> None:
        standby.execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = {}").format(where))
        standby.execute("SELECT pg_reload_conf()")
        hears = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver)"
        wait_until(lambda: standby.execute(hears).fetchone()[0] is bool(where))

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Let the standby give a reader no time before it cancels what is in its way."""
        with psycopg.connect(self.standby, autocommit=True) as standby:
            standby.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
            standby.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            # Its own word for it is not to be had while it throws out whoever comes.
            wait_until(self._made_patient)

    def _made_patient(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.standby, autocommit=True) as standby:
            standby.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
            standby.execute("SELECT pg_reload_conf()")
            return True
        return False


@contextmanager
def replicated(home: Path, *, programs: Path | None = None) -> Iterator[Pair]:
    """Yield a migrated primary and its standby, both under `home`."""
    folder = programs or find_programs()
    with embedded_postgres.running(home / "primary", options=UNSAFE_BUT_FAST, programs=folder) as primary:
        migrate(
            Run(Databases(primary, primary), load_settings(database_url=primary, home=home)), with_source=True
        )
        place = home / "standby" / "postgres"
        place.mkdir(parents=True)
        account = Account.for_new_data()
        account.own(place)
        copied = Programs.for_account(folder, account, copies=place).run(
            *("pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "--no-sync"),
            *("--dbname", primary, "--pgdata", place / "data"),
        )
        assert copied.returncode == 0, copied.stderr
        with embedded_postgres.running(home / "standby", options=UNSAFE_BUT_FAST, programs=folder) as standby:
            yield Pair(primary, standby)


def wait_until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Ask again and again until something is so."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
