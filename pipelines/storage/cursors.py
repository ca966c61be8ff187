"""How far each organization has been read from the source and published from the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

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


def find_progress(connection: psycopg.Connection) -> dict[UUID, Progress]:
    """The progress of every organization that was ever published."""
    with connection.cursor(row_factory=class_row(Progress)) as cursor:
        cursor.execute(statement("read/published_state.sql"))
        return {progress.organization_id: progress for progress in cursor}


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
