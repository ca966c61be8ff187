"""Where the time of a test run goes: `pytest -p tests.support.costs`, or `make costs`.

Each second of a test belongs to one row of each table: to its file, its phase, and the innermost of the
operations that are watched. Seconds are wall time of one worker; two workers make two a second.
"""

import functools
import os
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.watchdog import MARK

# Seconds, and how often, by table and row.
_spent: dict[str, Counter[str]] = defaultdict(Counter)
_counted: dict[str, Counter[str]] = defaultdict(Counter)

# Seconds that operations inside it took, of each operation that is running.
_inside: list[float] = []


def _add(table: str, row: str, seconds: float) -> None:
    _spent[table][row] += seconds
    _counted[table][row] += 1


def _watch(owner: Any, name: str, operation: str) -> None:
    """Count the time of a function for an operation, and take it off the operation around it."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return function(*arguments, **named)
        row = operation
        if operation == "SQL" and str(arguments[1]).startswith(("CREATE DATABASE", "DROP DATABASE")):
            row = "SQL that makes or drops a database"
        _inside.append(0.0)
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds = time.perf_counter() - began
            _add("operation", row, seconds - _inside.pop())
            if _inside:
                _inside[-1] += seconds

    setattr(owner, name, measured)


def pytest_configure() -> None:
    """Watch what tests wait for before a module of tests imports it."""
    import dagster
    import playwright._impl._sync_base
    import psycopg

    import pipelines.runs.refresh
    import pipelines.runs.verify
    from pipelines.devtools import trace_import
    from pipelines.postgres import migrations

    _watch(psycopg.Connection, "connect", "connecting")
    psycopg.connect = psycopg.Connection.connect
    for name in ("execute", "executemany"):
        _watch(psycopg.Cursor, name, "SQL")
    for name in ("refresh", "reconcile", "reconcile_created"):
        _watch(pipelines.runs.refresh, name, "refresh and reconcile, own work")
    _watch(pipelines.runs.verify, "verify", "verify, own work")
    _watch(migrations, "migrate", "migrating, own work")
    _watch(trace_import, "import_trace", "importing a trace, own work")
    _watch(dagster.JobDefinition, "execute_in_process", "Dagster in the process")
    _watch(playwright._impl._sync_base.SyncBase, "_sync", "Chromium")
    for name in ("__init__", "communicate", "wait"):
        _watch(subprocess.Popen, name, "other processes")
    _watch(time, "sleep", "sleeping")


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    _add("fixture", f"{fixturedef.argname} ({fixturedef.scope})", time.perf_counter() - began)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # The controller hears what a worker has counted already.
    if not hasattr(report, "node"):
        _add("phase", report.when, report.duration)
        _add("file", report.nodeid.partition("::")[0], report.duration)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = _processor_time()
    yield
    for process, seconds in (_processor_time() - before).items():
        _add("processor time of", process, seconds)
        _add("processor time by file", item.nodeid.partition("::")[0], seconds)


def _processor_time() -> Counter[str]:
    times = os.times()
    found = Counter({"workers": times.user + times.system})
    found["processes they waited for"] = times.children_user + times.children_system
    for mark in Path(os.environ[MARK]).rglob("postmaster.pid"):
        with suppress(OSError, ValueError, psutil.Error):
            server = psutil.Process(int(mark.read_text().split()[0]))
            ended = server.cpu_times()
            found["PostgreSQL"] += ended.children_user + ended.children_system
            found["PostgreSQL"] += sum(sum(each.cpu_times()[:2]) for each in (server, *server.children()))
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["costs"] = [
            {name: dict(rows) for name, rows in tables.items()} for tables in (_spent, _counted)
        ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    spent, counted = getattr(node, "workeroutput", {}).get("costs", ({}, {}))
    for mine, theirs in ((_spent, spent), (_counted, counted)):
        for name, rows in theirs.items():
            mine[name].update(rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    total = sum(_spent["phase"].values())
    for name, rows in _spent.items():
        terminalreporter.write_line(f"\n{name:60} {'seconds':>9} {'%':>5} {'times':>8}")
        for row, seconds in rows.most_common(60):
            if seconds >= total / 5000:
                share, times = 100 * seconds / total, _counted[name][row]
                terminalreporter.write_line(f"{row:60} {seconds:9,.1f} {share:5.1f} {times:8,}")
