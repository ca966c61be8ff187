"""Tests that never end, with each kind of process that tests start: test_orphans.py runs and ends them."""

import json
import os
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pipelines.postgres import embedded as embedded_postgres
from tests.conftest import home_for_servers
from tests.support.chromium import launched
from tests.support.dagster_deployment import DAEMON, running


def test_with_everything(pytestconfig: pytest.Config) -> None:
    """A server, a Dagster and, where the machine has one, a browser."""
    with ExitStack() as started:
        home = started.enter_context(home_for_servers(pytestconfig))
        started.enter_context(embedded_postgres.running(home))
        with suppress(pytest.skip.Exception):
            started.enter_context(launched())
        log = started.enter_context((home / "log").open("wb"))
        environment = os.environ | {"DAGSTER_HOME": str(home)}
        for arguments in (["-m", "dagster_webserver", "-p", "0"], ["-c", DAEMON]):
            started.enter_context(running(arguments, environment, log))
        say("everything", home)
        time.sleep(600)


def test_with_a_process_of_nobody(pytestconfig: pytest.Config) -> None:
    """One whose parent is gone already, in a session of its own."""
    with home_for_servers(pytestconfig) as home:
        command = ["sh", "-c", 'sleep 600 & echo $! > "$0/pid"', home]
        subprocess.run(command, start_new_session=True, check=True)
        say("nobody", home)
        time.sleep(600)


def say(name: str, home: Path) -> None:
    """Tell whoever runs this that the processes are there."""
    said = Path(os.environ["SAID"]) / name
    said.with_suffix(".new").write_text(json.dumps({"worker": os.getpid(), "home": str(home)}))
    said.with_suffix(".new").rename(said)
