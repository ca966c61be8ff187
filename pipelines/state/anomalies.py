"""`analytics.job_anomalies`: the rows that cannot be taken at face value, kept in step with the source."""

from datetime import datetime
from typing import Final

import polars as pl
from psycopg import Connection

from pipelines.frames import id_series, uuids
from pipelines.postgres.copying import copy_frame
from pipelines.postgres.statements import statement

_STAGED: Final = ("job_id", "organization_id", "reason", "effect", "detail")


def find_listed(connection: Connection) -> pl.DataFrame:
    """What is listed: `job_id, organization_id, reason`."""
    rows = connection.execute(statement("anomalies/listed_anomalies")).fetchall()
    job_ids, organization_ids, reasons = zip(*rows, strict=True) if rows else ((), (), ())
    return pl.DataFrame(
        {
            "job_id": id_series("job_id", job_ids),
            "organization_id": id_series("organization_id", organization_ids),
            "reason": pl.Series(reasons, dtype=pl.String),
        }
    )


def list_anomalies(connection: Connection, found: pl.DataFrame, seen_at: datetime) -> None:
    """List each `job_id, organization_id, reason, effect, detail`; a listed one keeps its first sight."""
    if not found.is_empty():
        connection.execute(statement("anomalies/stage_anomalies"))
        staged = found.select(*_STAGED).sort("job_id", "reason")
        copy_frame(connection, statement("anomalies/copy_anomalies"), staged)
        connection.execute(statement("anomalies/list_anomalies"), {"seen_at": seen_at})


def unlist_anomalies(connection: Connection, healed: pl.DataFrame) -> None:
    """Take each `job_id, organization_id, reason` off the list."""
    if not healed.is_empty():
        values = {"job_ids": uuids(healed["job_id"]), "reasons": healed["reason"].to_list()}
        connection.execute(statement("anomalies/unlist_anomalies"), values)
