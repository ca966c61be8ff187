"""PgBouncer as it comes, between us and the server."""

import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from pipelines.errors import SessionsShared
from pipelines.postgres.connections import Databases, Run
from pipelines.query.pool import ReadingPool
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import cells, plant_job, plant_tenant

pytestmark = pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed here")


def test_a_pool_in_session_mode_works_as_it_comes(
    databases: Databases, settings: Settings, source: Connection, analytics: Connection, tmp_path: Path
) -> None:
    """What it refuses at the start of a session is set afterwards."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    with pooled(databases.analytics_url, "session", tmp_path) as url:
        refresh(Run(Databases(url, url), settings))
        verified = verify(Run(Databases(url, url), settings))
        with ReadingPool(url, settings) as pool:
            pool.require_ready()

    assert (verified.cells_compared, verified.differences) == (54, ())
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_pool_in_transaction_mode_is_refused(
    databases: Databases, settings: Settings, analytics: Connection, tmp_path: Path
) -> None:
    """Two runs would hold the same lock; nothing is written."""
    with (
        pooled(databases.analytics_url, "transaction", tmp_path) as url,
        pytest.raises(SessionsShared, match="session mode"),
    ):
        refresh(Run(Databases(url, url), settings))

    assert cells(analytics) == {}


@contextmanager
def pooled(url: str, mode: str, folder: Path) -> Iterator[str]:
    """The same database by way of a PgBouncer that is left as it comes but for the mode of its pool."""
    to = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{to["user"]}" ""\n')
    configuration.write_text(
        "[databases]\n"
        f"{to['dbname']} = host={to['host']} port={to['port']} dbname={to['dbname']} user={to['user']}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\nauth_file = {users}\npool_mode = {mode}\n"
    )
    # It does not run as root, and has to reach the server's socket.
    account = pwd.getpwuid(Path(to["host"]).stat().st_uid).pw_name
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    program = subprocess.Popen(
        ["pgbouncer", "-q", "-u", account, configuration], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"postgresql://{to['user']}@127.0.0.1:{port}/{to['dbname']}"
    finally:
        program.terminate()
        program.wait()
