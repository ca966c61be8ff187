"""How far each organization has been read and published, for each subject, and what became of each run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import polars as pl
from psycopg import Connection, Cursor
from psycopg.rows import dict_row

from pipelines.errors import PublishConflict
from pipelines.facts.fact_table import Facts
from pipelines.postgres.statements import statement
from pipelines.subjects.reasons import Outcome
from pipelines.subjects.subject import Subject

# In place of a version: the facts have everything, but it is not on record any more what was published of it.
FORGOTTEN: Final = -1


@dataclass(frozen=True)
class Watermark:
    """One organization and subject: what was read, and which version of which facts the cells show.

    `checkpoint` is the source's word for how far it was read; None means from the beginning. `extracted_at`,
    `complete_through` and `swept_at` are times of the source's clock. `is_guarded`: too many of its rows were
    gone from the source, and nobody has accepted that yet.
    """

    organization_id: UUID
    checkpoint: str | None
    swept_at: datetime
    extracted_at: datetime
    complete_through: datetime
    facts_table_id: UUID
    published_version: int
    definition_version: int
    time_zone: str
    zone_offsets: str
    rebuilding_version: int | None
    rebuilt_before: datetime | None
    run_id: UUID | None
    is_guarded: bool

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

    def is_of(self, definition_version: int | None) -> bool:
        """Whether all cells are of this definition, and none of another that a rebuild had begun with."""
        others = {self.definition_version, self.rebuilding_version} - {None, definition_version}
        return definition_version is not None and not others


Watermarks = Mapping[UUID, Watermark]


@dataclass(frozen=True)
class Advance:
    """How far one organization has come with a publication; `swept`: every source row was looked at."""

    organization_id: UUID
    complete_through: datetime
    definition_version: int
    time_zone: str
    zone_offsets: str
    swept: bool


def find_watermarks(connection: Connection, subject: Subject) -> dict[UUID, Watermark]:
    """The watermark of every organization that was ever published."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return _watermarks(cursor.execute(statement("watermarks/find")), subject)


def watermarks_in(rows: pl.DataFrame, subject: Subject) -> dict[UUID, Watermark]:
    """The same from a frame of what `watermarks/find` gives; ids are bytes."""
    ids = ("organization_id", "facts_table_id", "run_id")
    found = (row | {name: row[name] and UUID(bytes=row[name]) for name in ids} for row in rows.to_dicts())
    return _watermarks(found, subject)


def _watermarks(rows: Iterable[Mapping[str, Any]], subject: Subject) -> dict[UUID, Watermark]:
    mine = (row for row in rows if row["subject"] == subject.name)
    fields = Watermark.__dataclass_fields__
    return {row["organization_id"]: Watermark(**{name: row[name] for name in fields}) for row in mine}


def disown_lost_versions(connection: Connection, facts: Facts, subject: Subject) -> dict[UUID, Watermark]:
    """Have organizations published anew whose version these facts no longer have; return all watermarks.

    It is written down before the facts count on, because they would soon reach the same number again.
    """
    seen = find_watermarks(connection, subject)
    lost = [key for key, was in seen.items() if was.facts_table_id == facts.table_id and not was.knows(facts)]
    if not lost:
        return seen
    _execute(connection, "disown_facts", subject, organization_ids=lost)
    return find_watermarks(connection, subject)


def forget_published(connection: Connection, subject: Subject, organization_ids: Collection[UUID]) -> None:
    """Have these organizations published anew as a whole from the same facts, without the feed.

    The source need not be read again for it, as it must be for facts that were lost.
    """
    ids = sorted(organization_ids)
    if ids:
        _execute(connection, "forget_published", subject, organization_ids=ids, forgotten=FORGOTTEN)


def advance(
    connection: Connection,
    subject: Subject,
    advances: Sequence[Advance],
    *,
    seen: Watermarks,
    checkpoint: str,
    extracted_at: datetime,
    facts: Facts,
    run_id: UUID,
    current_definition: int,
    settled_since: str | None = None,
) -> None:
    """Record how complete these organizations are and that they show the current facts.

    Cells that changed were written by the current definition, whichever the others are of. A delete guard
    stands, unless deletes were looked for again from `settled_since` on, a day.

    Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    before = [seen.get(each.organization_id) for each in advances]
    moved = _execute(
        connection,
        "advance",
        subject,
        organization_ids=[each.organization_id for each in advances],
        seen_table_ids=[was and was.facts_table_id for was in before],
        seen_versions=[was and was.published_version for was in before],
        seen_run_ids=[was and was.run_id for was in before],
        complete_through=[each.complete_through for each in advances],
        definition_versions=[each.definition_version for each in advances],
        time_zones=[each.time_zone for each in advances],
        zone_offsets=[each.zone_offsets for each in advances],
        swept=[each.swept for each in advances],
        checkpoint=checkpoint,
        extracted_at=extracted_at,
        facts_table_id=facts.table_id,
        published_version=facts.version,
        run_id=run_id,
        current_definition=current_definition,
        settled_since=settled_since,
    ).rowcount
    if moved != len(advances):
        raise PublishConflict


def guard_deletes(
    connection: Connection, subject: Subject, organization_id: UUID, rows: int, *, since: date | None
) -> None:
    """Record that a checksum comparison since a day, or of all, would have taken too many rows away."""
    _execute(connection, "guard_deletes", subject, organization_id=organization_id, rows=rows, since=since)


def hold(connection: Connection, subject: Subject, seen: Watermarks) -> None:
    """Have nobody else publish these organizations before the transaction ends.

    Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    rows = _execute(connection, "hold", subject, organization_ids=sorted(seen)).fetchall()
    before = [(key, each.facts_table_id, each.published_version, each.run_id) for key, each in seen.items()]
    if rows != sorted(before, key=lambda each: each[0]):
        raise PublishConflict


def renew_edition(connection: Connection, subject: Subject, organization_ids: Collection[UUID]) -> None:
    """Tell readers that cells of these organizations were written although nothing is published."""
    _execute(connection, "renew_edition", subject, organization_ids=sorted(organization_ids))


def published_by(
    connection: Connection, subject: Subject, run_id: UUID, organization_ids: Collection[UUID]
) -> bool:
    """Whether the last publication of all of these organizations was this run's."""
    found = find_watermarks(connection, subject)
    return all(key in found and found[key].run_id == run_id for key in organization_ids)


def settle_rebuild(
    connection: Connection,
    subject: Subject,
    organization_ids: Collection[UUID],
    definition_version: int,
    rebuilt_before: datetime | None,
) -> None:
    """Record that cells which begin before a time are of this definition; None, that all are."""
    values = {"definition_version": definition_version, "rebuilt_before": rebuilt_before}
    _execute(connection, "settle_rebuild", subject, organization_ids=sorted(organization_ids), **values)


def find_audit_order(connection: Connection) -> list[tuple[UUID, int]]:
    """Organizations and their stored cells, those that were compared longest ago first."""
    return connection.execute(statement("watermarks/audit_order")).fetchall()


def mark_audited(
    connection: Connection,
    subject: Subject,
    organization_ids: Collection[UUID],
    verified: Collection[UUID],
    audited_at: datetime,
) -> None:
    """Record that the cells of these organizations were compared with the source, and whose were equal."""
    values = {"organization_ids": sorted(organization_ids), "verified": sorted(verified)}
    _execute(connection, "mark_audited", subject, audited_at=audited_at, **values)


def record_outcomes(
    connection: Connection,
    run_id: UUID,
    organization_ids: Collection[UUID],
    *,
    seconds: float,
    subject: Subject,
    error_class: str | None = None,
) -> None:
    """Record that a subject of these was published, or failed with an error of that class."""
    values = {
        "run_id": run_id,
        "organization_ids": sorted(organization_ids),
        "subject": subject.name,
        "outcome": Outcome.FAILED if error_class else Outcome.PUBLISHED,
        "error_class": error_class,
        "milliseconds": round(seconds * 1000),
    }
    connection.execute(statement("state/record_outcomes"), values)


def _execute(connection: Connection, name: str, subject: Subject, **values: object) -> Cursor[Any]:
    return connection.execute(statement(f"watermarks/{name}"), {"subject": subject.name, **values})
