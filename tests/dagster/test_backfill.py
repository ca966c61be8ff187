"""Backfills that a running webserver and daemon carry out, for everybody and for one organization."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from assets.definitions import defs
from assets.jobs import REFRESH
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from tests.conftest import OWNER, Cluster, with_database, with_user
from tests.support.dagster_deployment import DONE_S, Deployment, deployed
from tests.support.dagster_runs import BOTH, day_key
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, NOON, Tenant, cells, change_job, plant_job, plant_tenant

PROGRAM = Path(sys.executable).with_name("execmetrics")

A_READ = "COPY (SELECT\n\t    j.id AS job_id"


class Running(NamedTuple):
    """A Dagster at work on a database of its own, and the schedules that it found."""

    dagster: Deployment
    databases: Databases
    settings: Settings
    schedules: dict[str, str]

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)


@pytest.fixture(scope="module")
def running(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One deployment for this module; its schedules are switched off, lest the clock join in."""
    server, name = cluster("embedded"), "test_of_backfills"
    url = with_user(with_database(server, name), OWNER)
    home = tmp_path_factory.mktemp("deployment")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests OWNER {OWNER} STRATEGY file_copy")
        admin.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    settings = load_settings(database_url=url, source_url=url, home=home / "home")
    databases = Databases(url, url)
    environment = environment_of(databases, settings)
    with deployed(home / "dagster", environment) as dagster:
        yield Running(dagster, databases, settings, switched_off(dagster))
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_schedules_run_by_themselves(running: Running) -> None:
    """A fresh deployment has every schedule switched on."""
    assert running.schedules == {each.name: "RUNNING" for each in defs.get_repository_def().schedule_defs}


def test_the_job_page_suggests_a_refresh(running: Running) -> None:
    """Launched from the page of the hourly job, a run does what the job is called, not something bigger."""
    suggested = running.dagster.ask(
        "query($selector: RepositorySelector!, $day: String!) {"
        ' partitionSetOrError(repositorySelector: $selector, partitionSetName: "refresh_partition_set") {'
        " ... on PartitionSet { partition(partitionName: $day) {"
        " runConfigOrError { ... on PartitionRunConfig { yaml } } } } } }",
        selector={"repositoryLocationName": "execution-metrics", "repositoryName": "__repository__"},
        day=day_key(NOON),
    )

    assert suggested["partition"]["runConfigOrError"]["yaml"].count("mode: refresh") == 3


def test_a_backfill_makes_its_days_equal_the_source(running: Running) -> None:
    """All days of a range, hard deletes included, a month in each run; days that agree are not read."""
    with psycopg.connect(running.databases.source_url, autocommit=True) as source:
        source.execute("SET log_statement = 'none'")
        tenant, neighbour = tenants_with_three_days(source)
        refresh(running.run)
        source.execute("DELETE FROM orchestration.jobs WHERE completed_at = %s", [NOON + DAY])
        plant_job(source, neighbour, completed_at=NOON + 2 * DAY)
        reads = reads_of(source)

        backfill_id = running.dagster.backfill(BOTH, days(40), {})

        runs = running.dagster.runs_of(backfill_id)
        assert [range_of(run) for run in runs] == [("2024-01-31", "2024-03-01"), ("2024-03-02", "2024-03-10")]
        # Each run reads what changed, and so does its audit; the first reads the day that differs too, and
        # looks by id for the jobs that it did not find.
        assert reads_of(source) - reads == 2 * 2 + 2
        stored = cells(source)
        assert {key[0] for key in stored} == {tenant.organization, neighbour.organization}
        assert differences(stored, cells_by_sql(source)) == []


@pytest.mark.only_in_everything
def test_a_second_daemon_and_the_program_are_in_nobodys_way(running: Running, tmp_path: Path) -> None:
    """Refreshes and backfills of two deployments and two programs at once: all succeed, and it is right."""
    with psycopg.connect(running.databases.source_url, autocommit=True) as source:
        source.execute("SET log_statement = 'none'")
        tenant, neighbour = tenants_with_three_days(source)
        refresh(running.run)
        environment = environment_of(running.databases, running.settings)
        with deployed(tmp_path / "second", environment) as second, ThreadPoolExecutor(6) as pool:
            switched_off(second)
            source.execute("DELETE FROM orchestration.jobs WHERE completed_at = %s", [NOON + DAY])
            for one in (tenant, neighbour):
                change_job(source, plant_job(source, one), status="FAILED")

            working = [
                pool.submit(running.dagster.backfill, BOTH, days(3), {}),
                pool.submit(second.backfill, BOTH, days(3), {}),
                pool.submit(running.dagster.run, "refresh", days(3), REFRESH.to_config_dict()),
                pool.submit(second.run, "refresh", days(3), REFRESH.to_config_dict()),
                pool.submit(program, environment, "refresh"),
                pool.submit(program, environment, "reconcile", "--since=2024-01-31", "--until=2024-02-03"),
            ]
            for late in range(20):
                plant_job(source, (tenant, neighbour)[late % 2], completed_at=NOON + 2 * DAY)
                time.sleep(0.3)
            for each in working:
                each.result(timeout=DONE_S)

        refresh(running.run)
        assert differences(cells(source), cells_by_sql(source)) == []
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert source.execute(deadlocks).fetchone() == (0,)


def environment_of(databases: Databases, settings: Settings) -> dict[str, str]:
    """What a process is told that works on these databases and facts."""
    return {
        "EXECMETRICS_DATABASE_URL": databases.analytics_url,
        "EXECMETRICS_SOURCE_URL": databases.source_url,
        "EXECMETRICS_HOME": str(settings.home),
    }


def program(environment: dict[str, str], *arguments: str) -> None:
    """Run the command in a process of its own, which has to succeed."""
    ended = subprocess.run(
        [PROGRAM, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def tenants_with_three_days(source: psycopg.Connection) -> tuple[Tenant, Tenant]:
    """Two new tenants with a job on each of three days."""
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    source.execute("DELETE FROM orchestration.jobs")
    source.execute(
        "DELETE FROM orchestration.organizations WHERE id <> all(%s)", [[t.organization for t in tenants]]
    )
    for tenant in tenants:
        for day in range(3):
            plant_job(source, tenant, completed_at=NOON + day * DAY)
    return tenants


def days(number: int) -> list[str]:
    """The names of so many partitions, from the day of the planted jobs on."""
    return [day_key(NOON + timedelta(days=day)) for day in range(number)]


def range_of(run: dict[str, str]) -> tuple[str, str]:
    """The first and the last day of a run."""
    return run["dagster/asset_partition_range_start"], run["dagster/asset_partition_range_end"]


def reads_of(source: psycopg.Connection) -> int:
    """How often the jobs have been read by now, from the server's log."""
    log = Path(source.execute("SHOW data_directory").fetchone()[0]) / "server.log"
    return log.read_text(errors="replace").count(A_READ)


def switched_off(dagster: Deployment) -> dict[str, str]:
    """Stop every schedule, and say what it was doing."""
    found = dagster.ask(
        "query($selector: RepositorySelector!) { schedulesOrError(repositorySelector: $selector) {"
        " ... on Schedules { results { name scheduleState { id status } } } } }",
        selector={"repositoryLocationName": "execution-metrics", "repositoryName": "__repository__"},
    )["results"]
    for schedule in found:
        stopped = dagster.ask(
            "mutation($id: String!) { stopRunningSchedule(id: $id) {"
            " ... on ScheduleStateResult { scheduleState { status } } ... on PythonError { message } } }",
            id=schedule["scheduleState"]["id"],
        )
        assert stopped["scheduleState"]["status"] == "STOPPED"
    return {schedule["name"]: schedule["scheduleState"]["status"] for schedule in found}
