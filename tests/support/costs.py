"""Where the time of a test run goes: `pytest -p tests.support.costs`, or `make costs`.

Each second of a test belongs to one row of each table: to its folder, its file, its phase, and the innermost
of the operations that are watched. Seconds are wall time of one worker; two workers make two a second.
"""

import functools
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.watchdog import MARK

_MAIN = threading.main_thread()
# (operation, seconds that operations inside it took) of each operation that is running.
_running: list[list[Any]] = []
_spent: dict[str, Counter[str]] = {
    name: Counter()
    for name in (
        "folder",
        "file",
        "phase",
        "fixture",
        "operation",
        "inclusive",
        "processor time of",
        "processor time by folder",
        "processor time by file",
    )
}
_counted: dict[str, Counter[str]] = {name: Counter() for name in _spent}
_current = {"folder": "-", "file": "-"}


def _add(table: str, row: str, seconds: float) -> None:
    _spent[table][row] += seconds
    _counted[table][row] += 1


def _timed(operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time counted for the operation and taken off the operation around it."""

    @functools.wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        if threading.current_thread() is not _MAIN:
            return function(*arguments, **named)
        name = _of_sql(arguments) if operation == "sql" else operation
        _running.append([name, 0.0])
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds = time.perf_counter() - began
            _, inside = _running.pop()
            _add("operation", name, seconds - inside)
            if name not in [running for running, _ in _running]:
                _add("inclusive", name, seconds)
            if _running:
                _running[-1][1] += seconds

    return measured


def _of_sql(arguments: tuple[Any, ...]) -> str:
    text = str(arguments[1])[:15] if len(arguments) > 1 else ""
    if text.startswith("CREATE DATABASE"):
        return "cloning a database"
    return "dropping a database" if text.startswith("DROP DATABASE") else "waiting for PostgreSQL (psycopg)"


def _wrap(owner: Any, name: str, operation: str) -> None:
    setattr(owner, name, _timed(operation, getattr(owner, name)))


def pytest_configure() -> None:
    """Wrap what tests wait for before a module of tests imports it."""
    import adbc_driver_postgresql.dbapi
    import dagster
    import playwright._impl._sync_base
    import psycopg

    import pipelines.runs.refresh
    import pipelines.runs.verify
    from pipelines.devtools import trace_import as trace
    from pipelines.postgres import migrations

    _wrap(psycopg.Connection, "connect", "connecting (psycopg)")
    psycopg.connect = psycopg.Connection.connect
    _wrap(psycopg.Cursor, "execute", "sql")
    _wrap(psycopg.Cursor, "executemany", "waiting for PostgreSQL (psycopg)")
    _wrap(adbc_driver_postgresql.dbapi, "connect", "connecting (ADBC)")
    for use_case in ("refresh", "reconcile", "reconcile_created"):
        _wrap(pipelines.runs.refresh, use_case, "refresh and reconcile, own work")
    _wrap(pipelines.runs.verify, "verify", "verify, own work")
    _wrap(migrations, "migrate", "migrating, own work")
    _wrap(trace, "import_trace", "importing a trace, own work")
    _wrap(dagster.JobDefinition, "execute_in_process", "Dagster in the process")
    _wrap(dagster, "materialize", "Dagster in the process")
    _wrap(playwright._impl._sync_base.SyncBase, "_sync", "Chromium")
    _wrap(subprocess.Popen, "__init__", "other processes")
    _wrap(subprocess.Popen, "communicate", "other processes")
    _wrap(subprocess.Popen, "wait", "other processes")
    _wrap(time, "sleep", "sleeping")
    _wrap(psutil, "wait_procs", "other processes")


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    _add("fixture", f"{fixturedef.argname} ({fixturedef.scope})", time.perf_counter() - began)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if hasattr(report, "node"):
        return  # the controller hears what a worker has counted already
    if report.when == "call" and _is_random.pop(report.nodeid, False):
        _add("phase", "call of a test with random examples or histories", report.duration)
    else:
        _add("phase", report.when, report.duration)
    for table in ("folder", "file"):
        _spent[table][_current[table]] += report.duration
        _counted[table][_current[table]] += report.when == "call"


_is_random: dict[str, bool] = {}


def pytest_runtest_call(item: pytest.Item) -> None:
    made = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    _is_random[item.nodeid] = bool(made) or "/torture/" in item.nodeid


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the processor time of a test, that of its worker's servers included."""
    place = Path(item.nodeid.partition("::")[0])
    _current.update(folder="/".join(place.parts[1:-1]) or "-", file=str(place))
    before = _processor_time()
    yield
    for who, seconds in (_processor_time() - before).items():
        _add("processor time of", who, seconds)
        _add("processor time by folder", _current["folder"], seconds)
        _add("processor time by file", _current["file"], seconds)


def _processor_time() -> Counter[str]:
    times = os.times()
    found = Counter({"workers": times.user + times.system})
    found["processes they waited for"] = times.children_user + times.children_system
    for mark in Path(os.environ[MARK]).glob("*/postgres/data/postmaster.pid"):
        with suppress(OSError, ValueError, psutil.Error):
            server = psutil.Process(int(mark.read_text().split()[0]))
            for process in (server, *server.children()):
                spent = process.cpu_times()
                ended = spent.children_user + spent.children_system if process is server else 0.0
                found["PostgreSQL"] += spent.user + spent.system + ended
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
    write = terminalreporter.write_line
    total = sum(_spent["phase"].values())
    write(f"{total:,.0f} worker-seconds")
    for name, rows in _spent.items():
        write(f"\n{name:60} {'seconds':>9} {'%':>5} {'times':>8}")
        for row, seconds in rows.most_common(60):
            if seconds >= total / 5000:
                write(f"{row:60} {seconds:9,.1f} {100 * seconds / total:5.1f} {_counted[name][row]:8,}")
