"""A database and folders of facts, put back to the same beginning before each history."""

import os
import shutil
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
from deltalake import DeltaTable
from psycopg.rows import dict_row

from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import refresh
from pipelines.settings import load_settings
from pipelines.subjects.jobs import JOBS
from tests.support.histories.books import Books, Row
from tests.support.histories.oracle import Anomaly, Cells, Depths
from tests.support.oracle import COMPLETED_SHARES, COUNTS, SHARES, Job
from tests.support.planting import DAY, MINUTE, NOON, without_constraints
from tests.support.postgres_catalog import tables_of

# More cells than the default for hours, fewer for the rest; each depth of the first is that of the default.
PLANS: tuple[Depths, ...] = tuple(
    tuple(zip(("hour", "day", "week", "month"), depths, strict=True))
    for depths in ((1, 2, 3, 3), (0, 1, 1, 1), (2, 2, 2, 3))
)

ORGANIZATIONS = [UUID(int=(0xA << 120) + number) for number in (1, 2, 3)]
# In Havana the clocks change at midnight; in Kathmandu no hour of UTC lies whole in a day.
ZONES = ["UTC", "America/Havana", "Asia/Kathmandu", "Europe/Amsterdam"]
NOWHERE = "Mars/Olympus_Mons"

# Few moments, so that jobs meet in their cells; they touch hours, days, weeks, months and Havana's 25 hours.
MOMENTS = [NOON, NOON + 30 * MINUTE, NOON + DAY / 2, NOON + DAY, NOON + 5 * DAY]
MOMENTS += [datetime.fromisoformat(text) for text in ("2024-11-03T04:30Z", "2024-11-03T05:30Z")]

FIGURES = (*COUNTS, "success_rate_pct", "total_duration_ms", "average_duration_ms", "min_duration_ms")
FIGURES += ("max_duration_ms", *SHARES, *COMPLETED_SHARES)

_TABLES = ("organizations", "workflows", "clients", "jobs")


@dataclass(frozen=True)
class Published:
    """What readers see: how far each organization is, its cells, and what is listed."""

    progress: dict[UUID, dict[str, Any]]
    cells: dict[UUID, Cells]
    listed: set[Anomaly]


class World:
    """One source and one table of aggregates, in one database; `loose` is a source without constraints."""

    def __init__(self, databases: Databases, home: Path, *, loose: bool) -> None:
        self.databases, self.loose = databases, loose
        self.connection = psycopg.connect(databases.source_url, autocommit=True)
        # Whoever waits for a lock here waits for himself.
        self.connection.execute("SET lock_timeout = '5s'")
        self.settings = load_settings(home=home, tolerated_failures_pct=100)
        self._home, self._numbers = home, 0
        if loose:
            without_constraints(self.connection)
        self.definitions = {JOBS.definition(self.plan(depths)): depths for depths in PLANS}
        tables = {name.removeprefix("analytics.") for name in tables_of(self.connection, "analytics")}
        self._derived = sorted(tables - {"alembic_version", "metric_definitions"})
        self._save()

    def close(self) -> None:
        """Let the database go."""
        self.connection.close()

    @staticmethod
    @cache
    def plan(depths: Depths) -> Any:
        """The rollup plan as the product knows it."""
        text = " ".join(f"{period}={depth}" for period, depth in depths)
        return load_settings(rollup_plan=text).rollup_plan

    def begin(self, *, published: bool) -> tuple[Books, Path]:
        """The same organizations and jobs as ever, published or not; and a folder for the facts."""
        self._numbers += 1
        folder = self._home / f"facts-{self._numbers}"
        for old in self._home.glob("facts-*"):
            shutil.rmtree(old, ignore_errors=True)
        self._clear()
        self._restore("orchestration", _TABLES)
        if published:
            shutil.copytree(self._home / "template", folder)
            self._restore("analytics", self._derived)
            self.connection.execute(
                "UPDATE analytics.watermarks"
                " SET swept_at = clock_timestamp(), checkpoint = jsonb_set(checkpoint, '{horizon}',"
                " to_jsonb(pg_snapshot_xmin(pg_current_snapshot())::text::bigint)),"
                " extracted_at = clock_timestamp(), complete_through = clock_timestamp()"
            )
        return self._books.photo(), folder

    def published(self) -> Published:
        """What a reader sees now."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(
                "SELECT organization_id, run_id, time_zone, definition, definition_version, facts_table_id,"
                " published_version, extracted_at, complete_through FROM analytics.watermarks"
                " LEFT JOIN analytics.metric_definitions USING (definition_version) WHERE subject = 'jobs'"
            )
            progress = {row.pop("organization_id"): row for row in cursor.fetchall()}
            cells: dict[UUID, Cells] = defaultdict(dict)
            for row in cursor.execute("SELECT * FROM analytics.aggregate_metrics"):
                key = tuple(row.pop(name) for name in list(row)[:6])
                assert key not in cells[key[0]]
                cells[key[0]][key] = {name: row[name] for name in FIGURES}
            cursor.execute("SELECT job_id, organization_id, reason, effect FROM analytics.job_anomalies")
            listed = {Anomaly(**row) for row in cursor}
        return Published(progress, cells, listed)

    def _save(self) -> None:
        self.connection.execute("CREATE SCHEMA saved")
        self._clear()
        self._plant()
        settings = self.settings.model_copy(update={"facts_url": str(self._home / "template")})
        refresh(Run(self.databases, settings))
        for schema, tables in (("orchestration", _TABLES), ("analytics", self._derived)):
            for table in tables:
                self.connection.execute(f"CREATE TABLE saved.{schema}_{table} AS TABLE {schema}.{table}")

    def _plant(self) -> None:
        self._books = Books(zones=dict(zip(ORGANIZATIONS, ZONES, strict=False)))
        for number, (organization, zone) in enumerate(self._books.zones.items()):
            name = f"Organization {number}"
            self._insert("organizations", id=organization, name=name, time_zone=zone)
            for table, owners in (("workflows", self._books.workflows), ("clients", self._books.clients)):
                for one in (1, 2):
                    id_ = UUID(int=organization.int + (one << 8) + (_TABLES.index(table) << 16))
                    owners[id_] = organization
                    self._insert(table, id=id_, organization_id=organization, name=f"{table} {one}")
        for number in range(7):
            job, row = self._job(number)
            self._books.jobs[job] = row
            self._insert("jobs", id=job, **row._asdict())

    def _insert(self, table: str, **columns: Any) -> None:
        marks = ", ".join(["%s"] * len(columns))
        text = f"INSERT INTO orchestration.{table} ({', '.join(columns)}) VALUES ({marks})"
        self.connection.execute(text, list(columns.values()))

    def _job(self, number: int) -> tuple[UUID, Row]:
        organization, completed_at = ORGANIZATIONS[number % 3], MOMENTS[number % len(MOMENTS)]
        workflows, clients = self._books.owned_by(organization)
        row = Row(
            *(organization, workflows[number % 2], (*clients, None)[number % 3], "USER"),
            status="FAILED" if number % 5 == 4 else "COMPLETED",
            created_at=completed_at - 10 * MINUTE,
            started_at=completed_at - (number + 1) * MINUTE,
            completed_at=completed_at,
            updated_at=completed_at,
            deleted_at=None,
        )
        return UUID(int=(0xB << 120) + number), row

    def _clear(self) -> None:
        tables = [f"orchestration.{table}" for table in reversed(_TABLES)]
        tables += [f"analytics.{table}" for table in self._derived]
        self.connection.execute(";".join(f"DELETE FROM {table}" for table in tables))

    def _restore(self, schema: str, tables: Any) -> None:
        for table in tables:
            self.connection.execute(f"INSERT INTO {schema}.{table} TABLE saved.{schema}_{table}")


@dataclass(frozen=True)
class Facts:
    """The folder of facts, read by version and not by the product."""

    table_id: UUID
    folder: Path

    @classmethod
    def of(cls, folder: Path) -> "Facts | None":
        """What lies in a folder, or None where nothing can be read."""
        try:
            table = DeltaTable(str(folder))
            return cls(UUID(str(table.metadata().id)), folder)
        except Exception:
            return None

    def jobs(self, version: int) -> dict[UUID, list[Job]]:
        """The jobs that counted at a version, by organization; a job counts once at most."""
        counting = pl.scan_delta(str(self.folder), version=version).filter(pl.col("gone").is_null())
        rows = counting.select("job_id", *Job._fields).collect()
        assert rows["job_id"].n_unique() == rows.height, "a job counts twice in the facts"
        found: dict[UUID, list[Job]] = defaultdict(list)
        for _, organization, workflow, client, *rest in rows.iter_rows():
            owner = UUID(bytes=organization)
            found[owner].append(Job(owner, UUID(bytes=workflow), client and UUID(bytes=client), *rest))
        return found

    def of_jobs(self, jobs: Collection[UUID]) -> dict[UUID, tuple[date, datetime]]:
        """When each of these jobs that counts was created and completed."""
        rows = pl.scan_delta(str(self.folder)).filter(pl.col("gone").is_null())
        found = rows.select("job_id", "created_date", "completed_at").collect().iter_rows()
        return {UUID(bytes=job): times for job, *times in found if UUID(bytes=job) in jobs}


def spoil(folder: Path, how: str, copies: Path) -> None:
    """Do something to the folder that its owner must notice, if there is anything to do it to."""
    if how == "copied":
        shutil.rmtree(copies, ignore_errors=True)
        shutil.copytree(folder, copies)
    elif how == "lost":
        shutil.rmtree(folder)
    elif how == "put back" and copies.exists():
        shutil.rmtree(folder)
        copies.rename(folder)
    elif how == "feed lost":
        for path in (folder / "_change_data").rglob("*.parquet"):
            path.unlink()
    elif how == "cut":
        files = [Path(uri.removeprefix("file://")) for uri in DeltaTable(str(folder)).file_uris()]
        for path in files[-1:]:
            os.truncate(path, path.stat().st_size // 2)
    elif how == "log emptied":
        os.truncate(max((folder / "_delta_log").glob("*.json")), 0)
