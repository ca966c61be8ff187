"""How fast and how large a run is, beside what PostgreSQL alone needs for the same table: `make bench`."""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from pipelines.devtools.generated_month import GeneratedMonth, generate_month
from pipelines.postgres.connections import Databases, Run, open_databases
from pipelines.postgres.grants import grants
from pipelines.postgres.migrations import migrate
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.tenant import Tenant, admit, read_as
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import jobs_statement, open_source
from pipelines.subjects.dimensions import ALL_OF_EACH, NO_CLIENT, UNKNOWN_INITIATOR
from pipelines.subjects.rollup import Period
from tests.bench.logs import measure_logs

HERE = Path(__file__).parent

SENTINELS = ALL_OF_EACH | {"no_client": NO_CLIENT, "unknown_initiator": UNKNOWN_INITIATOR}


# Seconds by stage, and of one refresh also `peak_mb` in MiB and the rows `written`.
Figures = dict[str, float]

SWEEPS, STARTS = 5, 7
PROGRAM = Path(sys.executable).with_name("execmetrics")

# Each command as a process, and how many seconds of processor time it may take.
COMMANDS: dict[str, tuple[list[str | Path], float | None]] = {
    "python3 -c pass": ([sys.executable, "-c", "pass"], None),
    "execmetrics --help": ([PROGRAM, "--help"], 0.4),
    "execmetrics status": ([PROGRAM, "status"], 1.0),
    "execmetrics refresh that finds nothing": ([PROGRAM, "refresh"], None),
}


READER = "bench_reader"
DAYS = 30

Question = Callable[..., object]

# The rows of a chart, then what its tiles and tables add up.
QUESTIONS: Mapping[str, Question] = {
    "the days": lambda metrics, **days: metrics.get_metrics(period=Period.DAY, **days),
    "the hours": lambda metrics, **days: metrics.get_metrics(period=Period.HOUR, **days),
    "counts, means and percentiles": lambda metrics, **days: metrics.get_total(**days),
    "all workflows": lambda metrics, **days: metrics.get_breakdown("workflow_id", **days),
    "all clients": lambda metrics, **days: metrics.get_breakdown("client_id", **days),
}


def main() -> None:
    """Generate, measure four runs, print the table and whether the aims are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--refresh", nargs=2, metavar=("URL", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.refresh:
        refresh_here(*arguments.refresh)
        return
    with tempfile.TemporaryDirectory(prefix="execmetrics-bench-") as folder:
        # The account of the embedded server has to pass through it.
        Path(folder).chmod(0o711)
        measure(Path(folder), arguments.jobs)


def refresh_here(url: str, home: str) -> None:
    """One refresh, and what it took, as JSON: the child's half of `ours`."""
    report = refresh(Run(Databases(url, url), load_settings(home=Path(home))))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    written = report.cells_written + report.cells_deleted
    json.dump(report.seconds | {"peak_mb": peak_mb, "written": written}, sys.stdout)


def measure(home: Path, jobs: int) -> None:
    """Run every scenario on a database of its own."""
    console = Console(width=132)
    settings = load_settings(home=home)
    with open_databases(settings) as databases:
        url = databases.analytics_url
        migrate(Run(databases, settings))
        month = generate_month(Run(databases, settings), organizations=200, jobs=jobs)
        with psycopg.connect(url, autocommit=True) as connection:
            # So that neither of the two pays for the marks that the first reader of new rows leaves.
            connection.execute("VACUUM (ANALYZE) orchestration.jobs")
            connection.execute("CREATE SCHEMA bench")
            like = "LIKE analytics.aggregate_metrics INCLUDING ALL"
            connection.execute(f"CREATE TABLE bench.aggregate_metrics ({like})")
            connection.execute("ALTER TABLE bench.aggregate_metrics DROP COLUMN definition_version")
        days = (month.until - month.since).days
        console.print(f"{month.jobs:,} jobs of {len(month.organization_ids)} organizations in {days} days")
        rows = [
            (name, ours(url, home), theirs(url, organization_ids, copied))
            for name, organization_ids, copied in scenarios(url, month)
        ]
        started = list(start_up(url, home))
        reads = measure_reads(url, settings, month)
        swept = sweep(url, settings, month)
        logged = measure_logs(url, settings, month)
    show(console, rows)
    show_reads(console, reads)
    for sentence in (*started, swept, *logged):
        console.print(sentence)


def scenarios(url: str, month: GeneratedMonth) -> Iterator[tuple[str, Sequence[UUID] | None, bool]]:
    """Yield each scenario's name, the organizations it touches (None: all), and whether to time a COPY."""
    yield "initial load", None, True
    newest_day = month.until - timedelta(days=1)
    change(url, "change_one_percent", {"newest_day": newest_day, "jobs": month.jobs // 100})
    yield "an hour, 1 % changed", None, False
    yield "nothing changed", (), False
    biggest = month.organization_ids[0]
    before = month.until - timedelta(days=20)
    change(url, "late_job", {"organization_id": biggest, "completed_before": before})
    yield "one late job", [biggest], False


def change(url: str, name: str, values: dict[str, Any]) -> None:
    """Change the source by a statement of this folder."""
    with psycopg.connect(url) as connection:
        connection.execute((HERE / f"{name}.sql").read_text(), values)


def ours(url: str, home: Path) -> Figures:
    """One refresh in a fresh process."""
    command = [sys.executable, __file__, "--refresh", url, str(home)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return defaultdict(float, json.loads(done.stdout))


def theirs(url: str, organization_ids: Sequence[UUID] | None, copied: bool) -> Figures:
    """The cells of these organizations anew by one statement, staged and upserted.

    PostgreSQL alone reads where the jobs are; `copy` is what reading the source takes by COPY, discarded.
    """
    with psycopg.connect(url) as connection:
        copy_s = seconds(lambda: copy_and_discard(connection)) if copied else 1.0
        connection.execute("SET LOCAL work_mem = '256MB'")
        only = None if organization_ids is None else list(organization_ids)
        values = SENTINELS | {"organization_ids": only}
        compute_s = seconds(lambda: connection.execute((HERE / "postgres_alone.sql").read_text(), values))
        publish_s = seconds(lambda: connection.execute((HERE / "upsert_alone.sql").read_text()))
        publish_s += seconds(connection.commit)
    return {"copy": copy_s, "compute": compute_s, "publish": publish_s, "total": compute_s + publish_s}


def copy_and_discard(connection: psycopg.Connection) -> None:
    """Read with the extraction's own statement, binary, and throw every byte away."""
    everything = Swept({})
    for settings in everything.settings:
        for name, value in settings.texts().items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    statement = f"COPY ({jobs_statement(everything.fragment)}) TO STDOUT (FORMAT binary)"
    with connection.cursor().copy(statement) as copy:
        for _ in copy:
            pass


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def start_up(url: str, home: Path) -> Iterator[str]:
    """Yield how much processor time each command takes, medians of several by turns, beside the aims."""
    environment = os.environ | {"EXECMETRICS_DATABASE_URL": url, "EXECMETRICS_HOME": str(home)}
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(STARTS):
        for name, (command, _most) in COMMANDS.items():
            taken[name].append(processor_seconds(command, environment))
    nothing, *others = ((name, median(figures)) for name, figures in taken.items())
    for name, figure in others:
        most = COMMANDS[name][1]
        limit = f" in at most {most} s of processor time" if most else ""
        ratio = f"{figure / nothing[1]:.0f}x {nothing[0]}"
        yield verdict(f"{name}{limit}", f"{figure:.2f} s, {ratio}", figure <= most if most else None)


def processor_seconds(command: list[str | Path], environment: dict[str, str]) -> float:
    """What one run took: on a busy machine it waits, and waiting is not counted."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return used.ru_utime + used.ru_stime


@contextmanager
def reading(url: str, settings: Settings) -> Iterator[psycopg.Connection]:
    """Yield a connection as a role that may only read, as `execmetrics grants` makes one."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {READER} LOGIN NOBYPASSRLS")
        printed = grants(settings, source_reader="source", writer="writer", dashboard_reader=READER)
        (reader,) = (each for each in printed if each.purpose == "dashboard_reader")
        for statement in reader.statements:
            owner.execute(statement)
    with psycopg.connect(make_conninfo(url, user=READER)) as connection:
        yield connection


def measure_reads(url: str, settings: Settings, month: GeneratedMonth) -> dict[str, list[float]]:
    """Milliseconds of each question for each organization, the second time that it asks, decoded."""
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with reading(url, settings) as connection:
        for organization_id in month.organization_ids:
            for first in (True, False):
                for name, question in QUESTIONS.items():
                    milliseconds = _milliseconds(connection, admit(organization_id), question, month.until)
                    if not first:
                        taken[name].append(milliseconds)
    return taken


def _milliseconds(reader: psycopg.Connection, tenant: Tenant, question: Question, until: datetime) -> float:
    with reader.transaction():
        read_as(reader, tenant)
        metrics = AnalyticsRepository(reader, tenant)
        # Days by the tenant's own clocks, as its page asks.
        zone = ZoneInfo(metrics.get_completeness().time_zone)
        last = datetime(until.year, until.month, until.day, tzinfo=zone)
        begun = time.perf_counter()
        question(metrics, since=last - timedelta(days=DAYS), until=last)
        return (time.perf_counter() - begun) * 1000


def sweep(url: str, settings: Settings, month: GeneratedMonth) -> str:
    """What it costs a refresh to notice hard deletes: the look that counts and finds, beside a sweep."""
    sweeps, counts = [], []
    with open_source(url, settings) as source:
        asked = Swept(dict.fromkeys(month.organization_ids, source.moment.horizon))
    change(url, "change_a_few", {})
    with open_source(url, settings) as source:
        changed = source.census(asked).changed
        assert changed
        for _ in range(SWEEPS):
            sweeps.append(seconds(lambda: list(source.jobs(asked))))
            counts.append(seconds(lambda: (source.census(asked), list(source.jobs(changed)))))
    alone, count = median(sweeps), median(counts)
    return (
        f"To count every job, for hard deletes, and to read two hundred that changed takes {count:.2f} s:"
        f" {count / alone:.2f}x a sweep that reads them and counts nothing."
    )


def verdict(aim: str, figure: str, met: bool | None) -> str:
    """An aim beside what was measured, and whether it is met, where there is one."""
    return f"{'      ' if met is None else 'met   ' if met else 'missed'}  {aim}: {figure}"


def show(console: Console, rows: Sequence[tuple[str, Figures, Figures]]) -> None:
    """Print the figures, and each aim beside what was measured."""
    table = Table(
        *("", "extract", "facts", "compute", "publish", "total s", "peak MiB", "rows written"),
        *("PG compute", "PG publish", "PG total s", "PG / ours"),
    )
    for name, our, their in rows:
        stages = [f"{our[stage]:.2f}" for stage in ("extract", "facts", "compute", "publish", "total")]
        alone = [f"{their[stage]:.2f}" for stage in ("compute", "publish", "total")]
        ratio = f"{their['total'] / our['total']:.1f}x" if their["compute"] > 0.5 else "-"
        table.add_row(name, *stages, f"{our['peak_mb']:,.0f}", f"{our['written']:,}", *alone, ratio)
    console.print(table)
    first, hour, nothing, late = (our for _, our, _ in rows)
    alone, peak_mb = rows[0][2], max(our["peak_mb"] for _, our, _ in rows)
    compute, load = (alone[stage] / first[stage] for stage in ("compute", "total"))
    copied, faster = first["extract"] / alone["copy"], first["total"] / hour["total"]
    idle = f"{nothing['total']:.2f} s, {nothing['written']} rows"
    for aim, figure, met in (
        ("compute at least 3x faster than PostgreSQL's", f"{compute:.1f}x", compute >= 3),
        ("initial load at least 1.5x faster", f"{load:.1f}x", load >= 1.5),
        ("extraction at most 1.3x the COPY discarded", f"{copied:.2f}x", copied <= 1.3),
        ("the 1 % hour at least 10x faster than the initial load", f"{faster:.1f}x", faster >= 10),
        ("nothing changed: under 2 s and 0 rows", idle, nothing["total"] < 2 and nothing["written"] == 0),
        ("one late job: at most 27 rows", f"{late['written']} rows", late["written"] <= 27),
        ("peak memory under 1 GB", f"{peak_mb:,.0f} MiB", peak_mb * 1.048576 < 1000),
    ):
        console.print(verdict(aim, figure, met))


def show_reads(console: Console, reads: Mapping[str, Sequence[float]]) -> None:
    """Print how long tenants wait, and whether that is as short as it should be."""
    table = Table("30 days of one tenant, ms", "median", "p95 of the tenants", "longest")
    shown = {name: (median(each), quantiles(each, n=20)[-1], max(each)) for name, each in reads.items()}
    for name, figures in shown.items():
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    p95 = shown["the days"][1]
    console.print(verdict("thirty days in under 10 ms", f"p95 {p95:.1f} ms", p95 < 10))


if __name__ == "__main__":
    main()
