"""`analytics.job_anomalies`: the rows that cannot be taken at face value, kept in step with the source."""

from datetime import datetime

import polars as pl
import psycopg

from pipelines.storage.frames import uuids
from pipelines.storage.statements import statement

_LISTED = {"job_id": pl.Binary(), "organization_id": pl.Binary(), "reason": pl.String()}


def find_listed(connection: psycopg.Connection) -> pl.DataFrame:
    """What is listed: `job_id, organization_id, reason`."""
    rows = connection.execute(statement("read/listed_anomalies.sql")).fetchall()
    listed = [(job_id.bytes, organization_id.bytes, reason) for job_id, organization_id, reason in rows]
    return pl.DataFrame(listed, schema=_LISTED, orient="row")


def list_anomalies(connection: psycopg.Connection, found: pl.DataFrame, seen_at: datetime) -> None:
    """List each `job_id, organization_id, reason, effect`; a listed one keeps its first sight."""
    if found.is_empty():
        return
    connection.execute(
        statement("load/list_anomalies.sql"),
        {
            "job_ids": uuids(found["job_id"]),
            "organization_ids": uuids(found["organization_id"]),
            "reasons": found["reason"].to_list(),
            "effects": found["effect"].to_list(),
            "seen_at": seen_at,
        },
    )


def unlist_anomalies(connection: psycopg.Connection, healed: pl.DataFrame) -> None:
    """Take each `job_id, reason` off the list."""
    if healed.is_empty():
        return
    connection.execute(
        statement("load/unlist_anomalies.sql"),
        {"job_ids": uuids(healed["job_id"]), "reasons": healed["reason"].to_list()},
    )
