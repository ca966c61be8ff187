"""Facts as an earlier version of the program left them."""

import shutil
from dataclasses import replace

import psycopg
from deltalake import write_deltalake

from pipelines.facts.delta import created, opened, rows_of
from pipelines.facts.fact_table import open_facts
from pipelines.settings import Settings
from pipelines.subjects.subject import Subject


def take_away_column(
    settings: Settings, analytics: psycopg.Connection, subject: Subject, column: str
) -> None:
    """Have the same facts in another table without that column, and be published from there."""
    fact = subject.fact
    location = settings.location_of(fact.table)
    table = opened(location, fact)
    assert table is not None
    rows = rows_of(table, fact).drop(column).collect()
    shutil.rmtree(location)
    older = replace(fact, columns={name: of for name, of in fact.columns.items() if name != column})
    write_deltalake(created(location, older), rows, mode="append")
    facts = open_facts(settings, fact)
    analytics.execute(
        "UPDATE analytics.watermarks SET facts_table_id = %s, published_version = %s WHERE subject = %s",
        [facts.table_id, facts.version, subject.name],
    )
