"""What the stored cells say of organizations: how many jobs they count, and whether there are any."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import psycopg

from pipelines.postgres.statements import statement
from pipelines.subjects.dimensions import ALL_OF_EACH


def count_jobs(connection: psycopg.Connection, *, before: datetime | None = None) -> dict[UUID, int]:
    """How many jobs of each organization are counted: in all, or in days that begin before a moment."""
    path = "checks/jobs_counted_before" if before else "checks/counted_jobs"
    return dict(connection.execute(statement(path), ALL_OF_EACH | {"before": before}).fetchall())


def find_with_cells(connection: psycopg.Connection, organization_ids: Collection[UUID]) -> set[UUID]:
    """Those of these organizations that have cells."""
    if not organization_ids:
        return set()
    values = {"organization_ids": sorted(organization_ids)}
    rows = connection.execute(statement("publish/organizations_with_cells"), values)
    return {row[0] for row in rows}
