"""Facts as an earlier version of the program left them."""

import shutil
from dataclasses import replace
from typing import Final

import psycopg
from deltalake import write_deltalake

from pipelines.facts.delta import JOB_FACTS, Kind, created, location_of, opened, rows_of
from pipelines.facts.fact_table import open_facts
from pipelines.settings import Settings

_BOOKS: Final = {True: "completeness", False: "step_completeness"}


def take_away_column(settings: Settings, analytics: psycopg.Connection, kind: Kind, column: str) -> None:
    """Have the same facts in another table without that column, and be published from there."""
    location = location_of(settings, kind)
    table = opened(location, kind)
    assert table is not None
    rows = rows_of(table, kind).drop(column).collect()
    shutil.rmtree(location)
    older = replace(kind, columns={name: of for name, of in kind.columns.items() if name != column})
    write_deltalake(created(location, older), rows, mode="append")
    facts = open_facts(settings, kind)
    analytics.execute(
        f"UPDATE analytics.{_BOOKS[kind is JOB_FACTS]} SET facts_table_id = %s, published_version = %s",
        [facts.table_id, facts.version],
    )
