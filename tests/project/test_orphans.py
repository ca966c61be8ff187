"""However a run of the tests ends, no process of it is left ten seconds later, and no file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.places import ROOT
from tests.support.watchdog import is_gone

RUN = ROOT / "tests/support/endless_run.py"
STARTED_S, LEFT_S = 120, 10


@dataclass(frozen=True)
class Started:
    """A worker of the run, and what its test has started."""

    worker: psutil.Process
    home: Path
    processes: Sequence[psutil.Process]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGTERM, "everything"),
        pytest.param(signal.SIGINT, "nobody", marks=pytest.mark.only_in_everything),
    ],
)
def test_a_run_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals, name: str) -> None:
    """The signal reaches the first process alone, as from a supervisor."""
    with running(name, tmp_path, workers=1) as main:
        started = wait_for(main, tmp_path, name)
        family = [main, *main.children(recursive=True)]

        main.send_signal(number)

        wait_until_gone([*family, *started.processes], started.home.parents[1])


def test_a_worker_that_is_killed_leaves_nothing_and_ctrl_c_ends_the_rest(tmp_path: Path) -> None:
    """What a worker had started goes, the others work on; then the terminal's group is interrupted."""
    with running("everything or nobody", tmp_path, workers=2) as main:
        everything, nobody = (wait_for(main, tmp_path, name) for name in ("everything", "nobody"))

        everything.worker.kill()

        wait_until_gone([everything.worker, *everything.processes], everything.home.parent)
        assert [process for process in (main, nobody.worker, *nobody.processes) if is_gone(process)] == []
        family = [main, *main.children(recursive=True)]

        os.killpg(main.pid, signal.SIGINT)

        wait_until_gone([*family, *nobody.processes], nobody.home.parents[1])


@contextmanager
def running(name: str, said: Path, workers: int) -> Iterator[psutil.Process]:
    """Run tests of endless_run.py as somebody at a terminal does."""
    command = [sys.executable, "-m", "pytest", "-p", "xdist", f"-n{workers}", "--dist=load", "-k", name, RUN]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        # Other plugins take longer to import than all of the run.
        env=os.environ | {"SAID": str(said), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=(said / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def wait_for(main: psutil.Process, said: Path, name: str) -> Started:
    """What the test of this name has started, as soon as all of it is there."""
    deadline = time.monotonic() + STARTED_S
    while not (said / name).exists():
        assert not is_gone(main), (said / "log").read_text()
        assert time.monotonic() < deadline, (said / "log").read_text()
        time.sleep(0.1)
    told = json.loads((said / name).read_text())
    worker, home = psutil.Process(told["worker"]), Path(told["home"])
    others = [psutil.Process(int(file.read_text().split()[0])) for file in home.rglob("*pid")]
    below = [child for process in (worker, *others) for child in process.children(recursive=True)]
    return Started(worker, home, [*others, *below])


def wait_until_gone(processes: Sequence[psutil.Process], folder: Path) -> None:
    """Return when no process runs and the folder is removed, or fail ten seconds later."""
    deadline = time.monotonic() + LEFT_S
    while (left := [process for process in processes if not is_gone(process)]) or folder.exists():
        assert time.monotonic() < deadline, (left, folder)
        time.sleep(0.1)
