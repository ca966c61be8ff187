"""Cells that would be written, beside those that are stored: looked at, and never written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import polars as pl
from psycopg.rows import class_row

from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.statements import statement
from pipelines.publish.writer import Edition, Publication
from pipelines.settings import Settings
from pipelines.state.retention import find_removed_before

_NOBODY_YET: Final = pl.DataFrame(
    schema={
        "organization_id": pl.Binary(),
        "period": pl.String(),
        "period_start": pl.Datetime("us", "UTC"),
    }
)


@dataclass(frozen=True)
class CellChange:
    """One cell that would change; figures are None where there is no cell, or would be none.

    `cells` counts all cells of the organization that would change.
    """

    organization_id: UUID
    period: str
    period_start: datetime
    workflow_id: UUID
    client_id: UUID
    initiator_type: str
    old_total_executions: int | None
    new_total_executions: int | None
    old_success_rate_pct: float | None
    new_success_rate_pct: float | None
    old_median_duration_ms: float | None
    new_median_duration_ms: float | None
    cells: int


class Proposal(Publication):
    """Cells are staged as for a publication, which then does not take place."""

    def largest_changes(self, *, of_each_organization: int = 5) -> list[CellChange]:
        """What the staged cells would change most."""
        self._connection.execute("ANALYZE staged_cells")
        with self._connection.cursor(row_factory=class_row(CellChange)) as cursor:
            rows = {"rows": of_each_organization}
            return cursor.execute(statement("publish/proposed_changes"), rows).fetchall()


@contextmanager
def proposal(databases: Databases, settings: Settings) -> Iterator[Proposal]:
    """Yield a proposal that nothing is left of afterwards."""
    with connect(databases.analytics_url, settings) as connection:
        edition = Edition(uuid4(), datetime.now(UTC), 0, _NOBODY_YET, find_removed_before(connection))
        yield Proposal(connection, edition)
        connection.rollback()
