"""Ends whatever a run of the tests has started, however the run ends: a process beside it, which outlives it.

A run has a folder, and each of its workers one in it. Every process inherits the name of the folder of
whoever started it, and keeps it when its parent is gone. Servers of PostgreSQL inherit nothing, but have
their data in the folder.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.places import ROOT

# No setting of ours: those of whoever runs the tests are deleted.
MARK = "TESTS_OF_EXECMETRICS"

_LOOK_EVERY_S = 0.5

# What ends in good order does so within this.
_PATIENCE_S = 3.0

_WORKER = "worker-"


def start_watchdog(folder: Path) -> subprocess.Popen[bytes]:
    """Watch a run until its end of the pipe is closed, by hand or because the process that holds it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != MARK},
        stdin=subprocess.PIPE,
        # Whoever reads what the tests say waits until nobody can say more.
        stdout=subprocess.DEVNULL,
        # Ctrl-C is for the tests.
        start_new_session=True,
    )
    os.environ[MARK] = str(folder)
    return process


def stop_watchdog(process: subprocess.Popen[bytes]) -> None:
    """Have it end what is left, remove the folder, and go."""
    assert process.stdin
    process.stdin.close()
    process.wait()


def watch_worker(folder: Path) -> None:
    """Have what this process starts be ended as soon as it is gone."""
    folder.mkdir()
    # The account of an embedded server has to pass through it.
    folder.chmod(0o711)
    (folder / f"{_WORKER}{os.getpid()}").touch()
    os.environ[MARK] = str(folder)


def discard(folder: Path) -> None:
    """Remove a folder of homes, their data elsewhere, and first the servers that still run on them."""
    places = [folder, *(link.resolve() for link in folder.rglob("elsewhere") if link.is_symlink())]
    marks = [mark for place in places for mark in place.rglob("postmaster.pid")]
    killed = []
    for mark in marks:
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int(mark.read_text().split()[0]))
            if Path(process.cwd()).samefile(mark.parent):
                process.send_signal(signal.SIGQUIT)
                killed.append(process)
    psutil.wait_procs(killed, timeout=20)
    for link in [link for place in places for link in place.rglob("socket") if link.is_symlink()]:
        shutil.rmtree(link.resolve(), ignore_errors=True)
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes that bear the mark of a folder or of one in it, and their children, who may not."""
    for process in psutil.process_iter():
        # Some are another account's, and some end meanwhile.
        with suppress(psutil.Error, OSError):
            if Path(process.environ().get(MARK, "/")).is_relative_to(folder):
                yield from (process, *process.children(recursive=True))


def _end(folder: Path) -> None:
    """Kill what bears the mark, also who is started meanwhile, and remove the folder."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := list(processes_of(folder))) and time.monotonic() < deadline:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=_LOOK_EVERY_S)
    discard(folder)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, also when nobody has asked yet how."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _watch(folder: Path) -> None:
    workers: dict[Path, psutil.Process] = {}
    while not select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0]:
        for named in folder.glob(f"*/{_WORKER}*"):
            if named not in workers:
                with suppress(psutil.NoSuchProcess):
                    workers[named] = psutil.Process(int(named.name.removeprefix(_WORKER)))
            if named not in workers or is_gone(workers[named]):
                _end(named.parent)
    for worker in workers.values():
        # Told by nobody else, it would go on with its test for some seconds.
        with suppress(psutil.Error):
            worker.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE_S
    while any(processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    _end(folder)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
