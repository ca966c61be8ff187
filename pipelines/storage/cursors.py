"""How far each organization has been read from the source and published from the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl
import psycopg
from psycopg.rows import class_row

from pipelines.errors import PublishConflict
from pipelines.storage.facts import JobFacts
from pipelines.storage.source import Moment
from pipelines.storage.statements import statement


@dataclass(frozen=True)
class Progress:
    """One organization: the source has been read up to `horizon`, the cells show `facts_version`."""

    organization_id: UUID
    horizon: int
    incarnation: str
    extracted_at: datetime
    facts_table_id: UUID | None
    facts_version: int | None

    def shows(self, facts: JobFacts) -> bool:
        """Whether the cells show a version of these facts: not of others, nor a later one now forgotten."""
        return (
            self.facts_table_id == facts.table_id
            and self.facts_version is not None
            and self.facts_version <= facts.version
        )


def find_progress(connection: psycopg.Connection) -> dict[UUID, Progress]:
    """The progress of every organization that was ever published."""
    with connection.cursor(row_factory=class_row(Progress)) as cursor:
        cursor.execute(statement("read/published_state.sql"))
        return {progress.organization_id: progress for progress in cursor}


def disown_lost_versions(connection: psycopg.Connection, facts: JobFacts) -> int:
    """Have organizations published anew whose version these facts no longer have, as a restored copy has not.

    It is written down before the facts count on, because they would soon reach the same number again.
    """
    lost = [
        key
        for key, seen in find_progress(connection).items()
        if seen.facts_table_id == facts.table_id and not seen.shows(facts)
    ]
    if lost:
        connection.execute(statement("load/disown_facts.sql"), {"organization_ids": lost})
    return len(lost)


def progress_in(rows: pl.DataFrame) -> dict[UUID, Progress]:
    """The same of rows that were read otherwise; ids are bytes."""
    found = {}
    for row in rows.iter_rows(named=True):
        table_id = row["facts_table_id"]
        progress = Progress(
            organization_id=UUID(bytes=row["organization_id"]),
            horizon=row["horizon"],
            incarnation=row["incarnation"],
            extracted_at=row["extracted_at"],
            facts_table_id=UUID(bytes=table_id) if table_id else None,
            facts_version=row["facts_version"],
        )
        found[progress.organization_id] = progress
    return found


def move(
    connection: psycopg.Connection,
    organization_ids: Sequence[UUID],
    *,
    seen: Mapping[UUID, Progress],
    moment: Moment,
    facts: JobFacts,
) -> None:
    """Record that these organizations are read up to `moment` and show the current facts.

    Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    ids = sorted(organization_ids)
    before = [seen.get(organization_id) for organization_id in ids]
    moved = connection.execute(
        statement("load/publish_version.sql"),
        {
            "organization_ids": ids,
            "seen_table_ids": [progress and progress.facts_table_id for progress in before],
            "seen_versions": [progress and progress.facts_version for progress in before],
            "facts_table_id": facts.table_id,
            "facts_version": facts.version,
        },
    ).rowcount
    if moved != len(ids):
        raise PublishConflict
    connection.execute(
        statement("load/move_cursors.sql"),
        {
            "organization_ids": ids,
            "horizon": moment.horizon,
            "incarnation": moment.incarnation,
            "extracted_at": moment.extracted_at,
        },
    )
