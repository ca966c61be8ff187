"""What the README says about your own database works as it is written."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.programs import find_programs
from tests.conftest import CreateDatabase, with_database, with_user
from tests.postgres.cli.conftest import PROGRAM
from tests.support.places import ROOT
from tests.support.prisma_application import plant_job, plant_tenant

ROLES = ("execmetrics_source_reader", "execmetrics_writer", "execmetrics_dashboard_reader")


@pytest.fixture
def analytics_owner(server: str, source: Connection, create_database: CreateDatabase) -> Iterator[str]:
    """The URL of an empty database; roles that are made meanwhile go with both."""
    url = create_database("template1")
    yield url
    with psycopg.connect(server, autocommit=True) as admin:
        for name in (source.info.dbname, psycopg.conninfo.conninfo_to_dict(url)["dbname"]):
            with psycopg.connect(with_database(server, str(name)), autocommit=True) as database:
                for role in ROLES:
                    database.execute(f"DROP OWNED BY {role}")
        for role in ROLES:
            admin.execute(f"DROP ROLE {role}")


@pytest.mark.every_postgres
def test_your_own_database(server: str, source: Connection, analytics_owner: str, tmp_path: Path) -> None:
    """Its commands, pasted, take a Prisma-managed database to verified figures with no error on the way."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour, status="FAILED")
    source_owner = with_user(with_database(server, source.info.dbname), source.info.user)
    urls = {
        "SOURCE_OWNER": source_owner,
        "ANALYTICS_OWNER": analytics_owner,
        "EXECMETRICS_SOURCE_URL": with_user(source_owner, ROLES[0]),
        "EXECMETRICS_DATABASE_URL": with_user(analytics_owner, ROLES[1]),
    }
    section = (ROOT / "README.md").read_text("utf-8").split("## Your own database")[1].split("\n## ")[0]
    said, commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)

    ended = subprocess.run(
        ["bash", "-e", "-c", commands],
        env=os.environ | urls | {"PATH": path(), "EXECMETRICS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (ended.returncode, re.findall("ERROR.*|Traceback.*", ended.stderr)) == (0, []), ended
    assert set(re.findall(r"export (\w+)=", said)) == urls.keys()
    assert len(commands.splitlines()) <= 6
    assert "0 differences" in ended.stdout


def path() -> str:
    """Where a shell finds the command and psql."""
    psql = Path(shutil.which("psql") or find_programs() / "psql")
    return f"{PROGRAM.parent}:{psql.parent}:{os.environ['PATH']}"
