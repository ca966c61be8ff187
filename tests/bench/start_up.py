"""How much processor time a command takes as a process, beside an interpreter that does nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RUNS = 7
PROGRAM = Path(sys.executable).with_name("execmetrics")


@dataclass(frozen=True)
class StartUp:
    """Seconds on the processor, of the process with all its threads: user and system, medians."""

    nothing: float
    help: float
    status: float
    refresh: float


def measure_start_up(url: str, home: Path) -> StartUp:
    """Run each command several times by turns; the database is there, and a refresh finds nothing to do."""
    environment = os.environ | {"EXECMETRICS_DATABASE_URL": url, "EXECMETRICS_HOME": str(home)}
    commands: dict[str, list[str | Path]] = {
        "nothing": [sys.executable, "-c", "pass"],
        "help": [PROGRAM, "--help"],
        "status": [PROGRAM, "status"],
        "refresh": [PROGRAM, "refresh"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            taken[name].append(processor_seconds(command, environment))
    return StartUp(**{name: median(seconds) for name, seconds in taken.items()})


def processor_seconds(command: list[str | Path], environment: dict[str, str]) -> float:
    """What one run took: on a busy machine it waits, and waiting is not counted."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return used.ru_utime + used.ru_stime


def sentences(taken: StartUp) -> Iterator[str]:
    """Yield what was measured, and whether the aim is met."""
    for command, seconds, most in (
        ("execmetrics --help", taken.help, 0.4),
        ("execmetrics status", taken.status, 1.0),
        ("execmetrics refresh that finds nothing", taken.refresh, None),
    ):
        aim = "      " if most is None else "met   " if seconds <= most else "missed"
        limit = "" if most is None else f" in at most {most} s of processor time"
        yield f"{aim}  {command}{limit}: {seconds:.2f} s, {seconds / taken.nothing:.0f}x python3 -c pass"
