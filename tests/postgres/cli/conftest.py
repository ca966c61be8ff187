"""The command line: called in this process against a test's databases, or as the installed program."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.cli.main import main
from pipelines.postgres.connections import Databases
from pipelines.settings import Settings

PROGRAM = Path(sys.executable).with_name("execmetrics")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout, which must hold nothing else."""
        return json.loads(self.stdout)


Execmetrics = Callable[..., Ended]


@pytest.fixture
def execmetrics(
    databases: Databases,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Execmetrics:
    """A function that carries out one command line against the test's databases."""
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", databases.analytics_url)
    monkeypatch.setenv("EXECMETRICS_SOURCE_URL", databases.source_url)
    monkeypatch.setenv("EXECMETRICS_HOME", str(settings.home))

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        exit_code = main(arguments)
        printed = capsys.readouterr()
        return Ended(exit_code, printed.out, printed.err)

    return call


@contextmanager
def started(home: Path, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the installed program with nothing but a home, and kill it if the test leaves it running."""
    environment = os.environ | {"EXECMETRICS_HOME": str(home)} | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process = subprocess.Popen([PROGRAM, *arguments], text=True, env=environment, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def server_processes(home: Path) -> list[psutil.Process]:
    """The PostgreSQL servers whose data is under the home."""
    data = (home / "postgres").resolve()
    elsewhere = (data / "elsewhere").resolve()
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(data) in words or str(elsewhere) in words:
            found.append(process)
    return found
