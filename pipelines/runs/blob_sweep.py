"""Removing from blob storage what no row names any more."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pipelines.errors import BlobsInUse
from pipelines.executions.blobs import BlobStore
from pipelines.executions.transactions import rows
from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.schema_checks import has_definitions
from pipelines.settings import Settings

# A backup of the database that is restored within a day finds the blobs that its rows name.
GRACE: Final = timedelta(days=1)


@dataclass(frozen=True)
class SweepReport:
    """How many blobs were removed and how large they were, and how many are of organizations unknown here."""

    blobs_removed: int
    bytes_removed: int
    blobs_of_unknown_organizations: int


def sweep_blobs(databases: Databases, settings: Settings, *, grace: timedelta = GRACE) -> SweepReport:
    """Remove the definitions that were written longer ago than `grace` and that no workflow names.

    Those of organizations that the database does not know are left alone: it may be the wrong database.
    Raises `BlobsInUse` while a unit of work that has written one is open, and `BlobsNotUsable`.
    """
    if not has_definitions(databases, settings):
        return SweepReport(0, 0, 0)
    blobs = BlobStore.of(settings)
    old = blobs.find_written_before(datetime.now(UTC) - grace)
    with connect(databases.source_url, settings) as connection:
        # Until the end: what is about to be removed is not written again, and named, meanwhile.
        ((owned,),) = (row.values() for row in rows(connection, "executions/own_blobs", {}))
        if not owned:
            raise BlobsInUse
        judged = rows(connection, "executions/judge_blobs", {"references": list(old)})
        orphans = [row["reference"] for row in judged if row["is_known"] and not row["is_named"]]
        blobs.delete(orphans)
    return SweepReport(
        blobs_removed=len(orphans),
        bytes_removed=sum(old[reference] for reference in orphans),
        blobs_of_unknown_organizations=sum(not row["is_known"] for row in judged),
    )
