"""Changes as an extraction hands them to the facts, written by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

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
