"""What is published and the facts behind it: looked at by organization, and put back as often as needed."""

import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl
import psycopg
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from psycopg.rows import dict_row

from pipelines.postgres.connections import Databases, Run
from pipelines.settings import Settings, load_settings
from tests.support.postgres_catalog import tables_of

# What a publication writes in one transaction; the column that says for whom is the first.
TABLES = {
    "aggregate_metrics": "organization_id",
    "restatements": "organization_id",
    "watermarks": "organization_id",
    "refresh_outcomes": "organization_id",
    "job_anomalies": "job_id",
    "organizations": "id",
    "workflows": "id",
    "clients": "id",
}

# These are another run's, and another moment's, when the same work is done again.
OF_THE_RUN = {
    "computed_at", "restated_at", "extracted_at", "complete_through", "published_at", "swept_at",
    "checkpoint", "finished_at", "first_seen_at", "last_seen_at", "run_id", "facts_table_id",
    "old_computed_at", "guarded_at",
}  # fmt: skip
# Told in a transaction of its own, or by a clock.
LEFT_OUT = {"milliseconds", "verified_at", "audited_at"}

# Steps are published in transactions of their own.
_OF_JOBS = dict.fromkeys(("refresh_outcomes", "restatements", "watermarks"), "WHERE subject = 'jobs'")

Rows = dict[str, list[dict[str, Any]]]
Published = dict[UUID, Rows]


class Place(NamedTuple):
    """Where the aggregates of a source are, and a home with their facts."""

    databases: Databases
    settings: Settings

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)

    def by_plan(self, text: str) -> "Place":
        """The same with another rollup plan."""
        plan = load_settings(rollup_plan=text).rollup_plan
        return self._replace(settings=self.settings.model_copy(update={"rollup_plan": plan}))

    def published(self) -> Rows:
        """Every row of every table that readers may look into, as of one moment."""
        with psycopg.connect(self.databases.analytics_url, row_factory=dict_row) as analytics:
            analytics.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            selects = {of: f"SELECT * FROM analytics.{of} {_OF_JOBS.get(of, '')}" for of in TABLES}
            return {table: analytics.execute(select).fetchall() for table, select in selects.items()}

    def facts(self) -> tuple[Any, ...]:
        """All that a later run will find in the home: rows by version, and how many files of each kind."""
        folder = Path(self.settings.facts_location)
        try:
            table = DeltaTable(str(folder))
            said = [table.version(), sorted(map(repr, pl.scan_delta(table).collect().rows()))]
        except (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as unreadable:
            said = [type(unreadable)]
        files = sorted(path.suffix for path in self.settings.home.rglob("*") if path.is_file())
        return (*said, files)


class StartingPoint:
    """How a place was; its source stays as it is meanwhile."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept = place.settings.home.with_name("kept")
        shutil.copytree(place.settings.home, self._kept)
        with psycopg.connect(place.databases.analytics_url) as analytics:
            analytics.execute("CREATE SCHEMA kept")
            self._tables = [name.removeprefix("analytics.") for name in tables_of(analytics, "analytics")]
            for name in self._tables:
                analytics.execute(f"CREATE TABLE kept.{name} AS TABLE analytics.{name}")

    def again(self) -> None:
        """Have it back."""
        shutil.rmtree(self._place.settings.home)
        shutil.copytree(self._kept, self._place.settings.home)
        with psycopg.connect(self._place.databases.analytics_url) as analytics:
            for name in self._tables:
                analytics.execute(f"DELETE FROM analytics.{name}")
                analytics.execute(f"INSERT INTO analytics.{name} TABLE kept.{name}")


def by_organization(rows: Rows, before: Rows, owners: Mapping[UUID, UUID]) -> Published:
    """The same for each organization; what was not there `before` of times and runs is called new.

    `owners` says whose each job, workflow and client is: one that changes hands is published with the
    organization from which the change is found again until that one is published.
    """
    known = {repr(row[name]) for each in before.values() for row in each for name in OF_THE_RUN & row.keys()}
    found: Published = defaultdict(lambda: {table: [] for table in TABLES})
    for table, column in TABLES.items():
        for row in rows[table]:
            owner = owners.get(row[column], row.get("organization_id", row[column]))
            told = {name: value for name, value in row.items() if name not in LEFT_OUT}
            for name in OF_THE_RUN & told.keys():
                if told[name] is not None and repr(told[name]) not in known:
                    told[name] = "new"
            found[owner][table].append(told)
    for each in found.values():
        for table in TABLES:
            each[table].sort(key=repr)
    return dict(found)
