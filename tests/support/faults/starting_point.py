"""A state of aggregates and facts that can be had again as often as one likes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.postgres.connections import Databases
from pipelines.settings import Settings
from tests.support.faults.published import Rows, published


@dataclass(frozen=True)
class Place:
    """Where the aggregates of a source are, and a home with their facts."""

    databases: Databases
    settings: Settings

    def published(self) -> Rows:
        """Every row that readers may look into."""
        with psycopg.connect(self.databases.analytics_url) as analytics:
            return published(analytics)

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
            self._tables = [
                name
                for (name,) in analytics.execute(
                    "SELECT relname FROM pg_class"
                    " WHERE relnamespace = 'analytics'::regnamespace AND relkind IN ('r', 'p')"
                )
            ]
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
