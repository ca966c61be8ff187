"""Changes as an extraction hands them to the facts, by hand; and facts as an earlier version left them."""

import shutil
from dataclasses import replace
from typing import Any

import polars as pl
import psycopg
from deltalake import write_deltalake

from pipelines.facts.delta import created, opened, rows_of
from pipelines.facts.fact_table import open_facts
from pipelines.frames import schema_of
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Subject
from tests.support.planting import MINUTE, NOON

Row = dict[str, Any]


def id_of(number: int) -> bytes:
    """An id that is easy to read."""
    return number.to_bytes(16, "big")


def change(job: int, **columns: Any) -> Row:
    """A job that counts, created at noon and completed after two minutes, except for the columns given."""
    created_at = columns.get("created_at", NOON)
    row = {
        "job_id": id_of(job),
        "organization_id": id_of(1),
        "workflow_id": id_of(2),
        "client_id": None,
        "initiator_type": "api",
        "status": "COMPLETED",
        "created_at": created_at,
        "started_at": created_at + MINUTE,
        "completed_at": created_at + 2 * MINUTE,
        "row_hash": job,
        "gone": None,
        "created_date": created_at.date(),
    }
    assert columns.keys() <= row.keys()
    return row | columns


def frame(*rows: Row) -> pl.DataFrame:
    """Rows as a frame with the columns of the facts."""
    return pl.DataFrame(list(rows), schema=schema_of(JOBS.fact.stored_columns), orient="row")


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
    update = "UPDATE analytics.watermarks SET facts_table_id = %s, published_version = %s WHERE subject = %s"
    analytics.execute(update, [facts.table_id, facts.version, subject.name])
