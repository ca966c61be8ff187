"""How fast and how large a run is, beside what PostgreSQL alone needs for the same table: `make bench`."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from rich.console import Console
from rich.table import Table

from pipelines.devtools.generated_month import GeneratedMonth, generate_month
from pipelines.postgres.connections import Databases, open_databases
from pipelines.postgres.migrations import migrate
from pipelines.runs.refresh import refresh
from pipelines.settings import load_settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import jobs_statement
from pipelines.subjects.dimensions import ALL_OF_EACH, NO_CLIENT, UNKNOWN_INITIATOR
from tests.bench import deletes, logs, start_up
from tests.bench.reads import measure_reads, rows_of, summary

HERE = Path(__file__).parent

SENTINELS = ALL_OF_EACH | {"no_client": NO_CLIENT, "unknown_initiator": UNKNOWN_INITIATOR}


@dataclass(frozen=True)
class Ours:
    """One refresh in a process of its own; times in seconds, memory in MiB."""

    extract: float
    facts: float
    compute: float
    publish: float
    total: float
    peak_mb: float
    written: int


@dataclass(frozen=True)
class Theirs:
    """The same table by PostgreSQL alone; `copied` is what reading the source takes by COPY, discarded."""

    copied: float | None
    compute: float
    publish: float

    @property
    def total(self) -> float:
        """Seconds in all; PostgreSQL alone reads where the jobs are, so nothing is copied."""
        return self.compute + self.publish


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
    report = refresh(Databases(url, url), load_settings(home=Path(home)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stages = {
        name: report.seconds.get(name, 0.0) for name in ("extract", "facts", "compute", "publish", "total")
    }
    written = report.cells_written + report.cells_deleted
    json.dump(asdict(Ours(**stages, peak_mb=peak_mb, written=written)), sys.stdout)


def measure(home: Path, jobs: int) -> None:
    """Run every scenario on a database of its own."""
    console = Console(width=132)
    settings = load_settings(home=home)
    with open_databases(settings) as databases:
        url = databases.analytics_url
        migrate(databases, settings)
        month = generate_month(databases, settings, organizations=200, jobs=jobs)
        with psycopg.connect(url, autocommit=True) as connection:
            # So that neither of the two pays for the marks that the first reader of new rows leaves.
            connection.execute("VACUUM (ANALYZE) orchestration.jobs")
            connection.execute("CREATE SCHEMA bench")
            connection.execute(
                "CREATE TABLE bench.aggregate_metrics (LIKE analytics.aggregate_metrics INCLUDING ALL)"
            )
            connection.execute("ALTER TABLE bench.aggregate_metrics DROP COLUMN definition_version")
        days = (month.until - month.since).days
        console.print(f"{month.jobs:,} jobs of {len(month.organization_ids)} organizations in {days} days")
        rows = [
            (name, ours(url, home), theirs(url, organization_ids, copied))
            for name, organization_ids, copied in scenarios(url, month)
        ]
        started = start_up.measure_start_up(url, home)
        reads = measure_reads(url, settings, month)
        swept = deletes.measure_sweeps(url, settings, month)
        logged = logs.measure_logs(url, settings, month)
    show(console, rows)
    show_reads(console, reads)
    for sentence in (*start_up.sentences(started), *deletes.sentences(swept), *logs.sentences(logged)):
        console.print(sentence)


def scenarios(url: str, month: GeneratedMonth) -> Iterator[tuple[str, Sequence[UUID] | None, bool]]:
    """Yield each scenario's name, the organizations it touches (None: all), and whether to time a COPY."""
    yield "initial load", None, True
    newest_day = month.until - timedelta(days=1)
    change(url, "change_one_percent", {"newest_day": newest_day, "jobs": month.jobs // 100})
    yield "an hour, 1 % changed", None, False
    yield "nothing changed", (), False
    biggest = month.organization_ids[0]
    change(
        url, "late_job", {"organization_id": biggest, "completed_before": month.until - timedelta(days=20)}
    )
    yield "one late job", [biggest], False


def change(url: str, name: str, values: dict[str, Any]) -> None:
    """Change the source by a statement of this folder."""
    with psycopg.connect(url) as connection:
        connection.execute((HERE / f"{name}.sql").read_text(), values)


def ours(url: str, home: Path) -> Ours:
    """One refresh in a fresh process."""
    command = [sys.executable, __file__, "--refresh", url, str(home)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Ours(**json.loads(done.stdout))


def theirs(url: str, organization_ids: Sequence[UUID] | None, copied: bool) -> Theirs:
    """The cells of these organizations anew by one statement, staged and upserted."""
    with psycopg.connect(url) as connection:
        copy_s = seconds(lambda: copy_and_discard(connection)) if copied else None
        connection.execute("SET LOCAL work_mem = '256MB'")
        only = None if organization_ids is None else list(organization_ids)
        values = SENTINELS | {"organization_ids": only}
        compute_s = seconds(lambda: connection.execute((HERE / "postgres_alone.sql").read_text(), values))
        publish_s = seconds(lambda: connection.execute((HERE / "upsert_alone.sql").read_text()))
        publish_s += seconds(connection.commit)
    return Theirs(copy_s, compute_s, publish_s)


def copy_and_discard(connection: psycopg.Connection) -> None:
    """Read with the extraction's own statement, binary, and throw every byte away."""
    everything = Swept({})
    for settings in everything.settings():
        for name, value in settings.texts().items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    with connection.cursor().copy(
        f"COPY ({jobs_statement(everything.fragment)}) TO STDOUT (FORMAT binary)"
    ) as copy:
        for _ in copy:
            pass


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def show(console: Console, rows: Sequence[tuple[str, Ours, Theirs]]) -> None:
    """Print the figures, and each aim beside what was measured."""
    table = Table(
        *("", "extract", "facts", "compute", "publish", "total s", "peak MiB", "rows written"),
        *("PG compute", "PG publish", "PG total s", "PG / ours"),
    )
    for name, our, their in rows:
        ratio = f"{their.total / our.total:.1f}x" if their.compute > 0.5 else "-"
        table.add_row(
            name,
            *(f"{value:.2f}" for value in (our.extract, our.facts, our.compute, our.publish, our.total)),
            f"{our.peak_mb:,.0f}",
            f"{our.written:,}",
            f"{their.compute:.2f}",
            f"{their.publish:.2f}",
            f"{their.total:.2f}",
            ratio,
        )
    console.print(table)
    first, hour, nothing, late = (our for _, our, _ in rows)
    alone, peak_mb = rows[0][2], max(our.peak_mb for _, our, _ in rows)
    compute, load, copied = (
        alone.compute / first.compute,
        alone.total / first.total,
        first.extract / (alone.copied or 1),
    )
    for text, figure, met in (
        ("compute at least 3x faster than PostgreSQL's", f"{compute:.1f}x", compute >= 3),
        ("initial load at least 1.5x faster", f"{load:.1f}x", load >= 1.5),
        ("extraction at most 1.3x the COPY discarded", f"{copied:.2f}x", copied <= 1.3),
        (
            "the 1 % hour at least 10x faster than the initial load",
            f"{first.total / hour.total:.1f}x",
            first.total >= 10 * hour.total,
        ),
        (
            "nothing changed: under 2 s and 0 rows",
            f"{nothing.total:.2f} s, {nothing.written} rows",
            nothing.total < 2 and nothing.written == 0,
        ),
        ("one late job: at most 27 rows", f"{late.written} rows", late.written <= 27),
        ("peak memory under 1 GB", f"{peak_mb:,.0f} MiB", peak_mb * 1.048576 < 1000),
    ):
        console.print(f"{'met   ' if met else 'missed'}  {text}: {figure}")


def show_reads(console: Console, reads: Mapping[str, Sequence[float]]) -> None:
    """Print how long tenants wait, and whether that is as short as it should be."""
    table = Table("30 days of one tenant, ms", "median", "p95 of the tenants", "longest")
    for row in rows_of(reads):
        table.add_row(*row)
    console.print(table)
    p95 = summary(reads["the days"])[1]
    console.print(f"{'met   ' if p95 < 10 else 'missed'}  thirty days in under 10 ms: p95 {p95:.1f} ms")


if __name__ == "__main__":
    main()
