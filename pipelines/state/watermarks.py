"""How far each organization has been read from the source and published from the facts."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import polars as pl
import psycopg
from psycopg.rows import class_row

from pipelines.errors import PublishConflict
from pipelines.facts.fact_table import Facts
from pipelines.postgres.statements import statement
from pipelines.source.snapshot import Moment
from pipelines.subjects.outcomes import OutcomeOf

# In place of a version: the facts have everything, but nobody knows any more what was published of it.
FORGOTTEN: Final = -1

_WITHHOLD: Final = {
    OutcomeOf.JOBS: "watermarks/withhold_deletes",
    OutcomeOf.STEPS: "watermarks/withhold_step_deletes",
}


@dataclass(frozen=True)
class Shown:
    """Which version of which facts the cells of an organization show, and by which clocks they count."""

    organization_id: UUID
    horizon: int
    incarnation: str
    extracted_at: datetime
    facts_table_id: UUID
    published_version: int
    definition_version: int
    time_zone: str
    zone_offsets: str
    run_id: UUID | None

    def knows(self, facts: Facts) -> bool:
        """Whether it was read into these facts with all their columns, and published from them.

        It was not when they are others, lost the version that was published, or lacked a column then.
        """
        if self.facts_table_id != facts.table_id or self.published_version > facts.version:
            return False
        # Of a version that was forgotten nobody knows on which side of an added column it was.
        return self.published_version >= facts.complete_since or facts.complete_since == 0

    def shows(self, facts: Facts) -> bool:
        """Whether the cells show a version of these facts, so that the feed says what changed since."""
        return self.knows(facts) and self.published_version != FORGOTTEN


S = TypeVar("S", bound=Shown)


@dataclass(frozen=True)
class Progress(Shown):
    """One organization: every row has been looked at up to `horizon`, the cells show `published_version`.

    `extracted_at`, `complete_through` and `swept_at` are times of the source's clock. `deletes_withheld`:
    too many of its jobs were gone from the source, and nobody has accepted that yet.
    """

    swept_at: datetime
    complete_through: datetime
    rebuilding_version: int | None
    rebuilt_before: datetime | None
    deletes_withheld: bool

    def is_of(self, definition_version: int | None) -> bool:
        """Whether all cells are of this definition, and none of another that a rebuild had begun with."""
        others = {self.definition_version, self.rebuilding_version} - {None, definition_version}
        return definition_version is not None and not others


@dataclass(frozen=True)
class Advance:
    """How far one organization has come with a publication."""

    organization_id: UUID
    complete_through: datetime
    definition_version: int
    time_zone: str
    zone_offsets: str


def find_progress(connection: psycopg.Connection) -> dict[UUID, Progress]:
    """The progress of every organization that was ever published."""
    with connection.cursor(row_factory=class_row(Progress)) as cursor:
        cursor.execute(statement("watermarks/published_state"))
        return {progress.organization_id: progress for progress in cursor}


def progress_in(rows: pl.DataFrame, kind: type[S]) -> dict[UUID, S]:
    """Progress of that kind in rows that were read otherwise; ids are bytes."""
    found = {}
    for row in rows.iter_rows(named=True):
        values: dict[str, Any] = dict(row)
        for name in ("organization_id", "facts_table_id", "run_id"):
            values[name] = UUID(bytes=row[name]) if row[name] else None
        progress = kind(**values)
        found[progress.organization_id] = progress
    return found


def disown_lost_versions(connection: psycopg.Connection, facts: Facts) -> dict[UUID, Progress]:
    """Have organizations published anew whose version these facts no longer have; return all progress.

    It is written down before the facts count on, because they would soon reach the same number again.
    """
    return disown(connection, facts, find_progress, "watermarks/disown_facts")


def disown(
    connection: psycopg.Connection,
    facts: Facts,
    find: Callable[[psycopg.Connection], dict[UUID, S]],
    path: str,
) -> dict[UUID, S]:
    """The same for the progress that `find` gives and the statement at `path`."""
    seen = find(connection)
    lost = [key for key, was in seen.items() if was.facts_table_id == facts.table_id and not was.knows(facts)]
    if not lost:
        return seen
    connection.execute(statement(path), {"organization_ids": lost})
    return find(connection)


def forget_published(connection: psycopg.Connection, organization_ids: Collection[UUID]) -> int:
    """Have these organizations published anew as a whole from the same facts, without the feed.

    The source need not be read again for it, as it must be for facts that were lost.
    """
    if organization_ids:
        connection.execute(
            statement("watermarks/forget_published"),
            {"organization_ids": sorted(organization_ids), "forgotten": FORGOTTEN},
        )
    return len(organization_ids)


def advance(
    connection: psycopg.Connection,
    advances: Sequence[Advance],
    *,
    seen: Mapping[UUID, Progress],
    extracted_at: datetime,
    facts: Facts,
    run_id: UUID,
    current_definition: int,
    settled_since: str | None = None,
) -> None:
    """Record how complete these organizations are and that they show the current facts.

    Cells that changed were written by the current definition, whichever the others are of. Deletes that
    were withheld stand, unless they were looked for again from `settled_since` on, a day of creation.

    Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    before = [seen.get(each.organization_id) for each in advances]
    moved = connection.execute(
        statement("watermarks/advance_completeness"),
        {
            "organization_ids": [each.organization_id for each in advances],
            "seen_table_ids": [was and was.facts_table_id for was in before],
            "seen_versions": [was and was.published_version for was in before],
            "seen_run_ids": [was and was.run_id for was in before],
            "complete_through": [each.complete_through for each in advances],
            "definition_versions": [each.definition_version for each in advances],
            "time_zones": [each.time_zone for each in advances],
            "zone_offsets": [each.zone_offsets for each in advances],
            "extracted_at": extracted_at,
            "facts_table_id": facts.table_id,
            "published_version": facts.version,
            "run_id": run_id,
            "current_definition": current_definition,
            "settled_since": settled_since,
        },
    ).rowcount
    if moved != len(advances):
        raise PublishConflict


def withhold(
    connection: psycopg.Connection,
    organization_id: UUID,
    withheld: int,
    *,
    since: date | None,
    subject: OutcomeOf,
) -> None:
    """Record that a digest of the jobs, or steps, since a day, or of all, would have taken too many away."""
    connection.execute(
        statement(_WITHHOLD[subject]),
        {"organization_id": organization_id, "withheld": withheld, "since": since},
    )


def hold(connection: psycopg.Connection, seen: Mapping[UUID, Progress]) -> None:
    """Have nobody else publish these organizations before the transaction ends.

    Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    rows = connection.execute(
        statement("watermarks/hold_published"), {"organization_ids": sorted(seen)}
    ).fetchall()
    before = [
        (key, was.facts_table_id, was.published_version, was.run_id) for key, was in sorted(seen.items())
    ]
    if rows != before:
        raise PublishConflict


def renew_edition(connection: psycopg.Connection, organization_ids: Collection[UUID]) -> None:
    """Tell readers that cells of these organizations were written although nothing is published."""
    connection.execute(statement("watermarks/renew_edition"), {"organization_ids": sorted(organization_ids)})


def move_cursors(connection: psycopg.Connection, organization_ids: Collection[UUID], moment: Moment) -> None:
    """Record that every row of these organizations has been looked at up to `moment`."""
    connection.execute(
        statement("watermarks/move_cursors"),
        {
            "organization_ids": sorted(organization_ids),
            "horizon": moment.horizon,
            "incarnation": moment.incarnation,
            "swept_at": moment.extracted_at,
        },
    )


def published_by(connection: psycopg.Connection, run_id: UUID, organization_ids: Collection[UUID]) -> bool:
    """Whether the last publication of all of these organizations was this run's."""
    found = find_progress(connection)
    return all(key in found and found[key].run_id == run_id for key in organization_ids)


def settle_rebuild(
    connection: psycopg.Connection,
    organization_ids: Collection[UUID],
    definition_version: int,
    rebuilt_before: datetime | None,
) -> None:
    """Record that cells which begin before a time are of this definition; None, that all are."""
    connection.execute(
        statement("watermarks/settle_rebuild"),
        {
            "organization_ids": sorted(organization_ids),
            "definition_version": definition_version,
            "rebuilt_before": rebuilt_before,
        },
    )


def find_audit_order(connection: psycopg.Connection) -> list[tuple[UUID, int]]:
    """Organizations and their stored cells, those that were compared longest ago first."""
    return connection.execute(statement("watermarks/audit_order")).fetchall()


def mark_audited(
    connection: psycopg.Connection,
    organization_ids: Collection[UUID],
    verified: Collection[UUID],
    audited_at: datetime,
) -> None:
    """Record that the cells of these organizations were compared with the source, and whose were equal."""
    connection.execute(
        statement("watermarks/mark_audited"),
        {
            "organization_ids": sorted(organization_ids),
            "verified": sorted(verified),
            "audited_at": audited_at,
        },
    )
