"""`analytics.step_completeness`: how far each organization's steps have been read and published."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from pipelines.errors import PublishConflict
from pipelines.facts.fact_table import Facts
from pipelines.postgres.statements import statement
from pipelines.state.watermarks import FORGOTTEN, Shown, disown


@dataclass(frozen=True)
class StepProgress(Shown):
    """One organization: every line has been looked at up to `horizon`, the cells show `published_version`."""


def find_step_progress(connection: psycopg.Connection) -> dict[UUID, StepProgress]:
    """The progress of every organization whose steps were ever published."""
    with connection.cursor(row_factory=class_row(StepProgress)) as cursor:
        cursor.execute(statement("watermarks/step_progress"))
        return {progress.organization_id: progress for progress in cursor}


def disown_lost_step_versions(connection: psycopg.Connection, facts: Facts) -> dict[UUID, StepProgress]:
    """Have steps published anew whose version these facts no longer have, as for the jobs."""
    return disown(connection, facts, find_step_progress, "watermarks/disown_step_facts")


def forget_published_steps(connection: psycopg.Connection, organization_ids: Collection[UUID]) -> None:
    """Have the steps of these organizations published anew as a whole, from the same facts."""
    if organization_ids:
        connection.execute(
            statement("watermarks/forget_published_steps"),
            {"organization_ids": sorted(organization_ids), "forgotten": FORGOTTEN},
        )


def advance_steps(
    connection: psycopg.Connection,
    zones: Mapping[UUID, tuple[str, str]],
    *,
    seen: Mapping[UUID, StepProgress],
    horizon: int,
    incarnation: str,
    extracted_at: datetime,
    facts: Facts,
    definition_version: int,
    run_id: UUID,
    settled_since: str | None = None,
) -> None:
    """Record that the steps of these organizations, each with its zone and its rules, show the current facts.

    Deletes that were withheld stand, unless they were looked for again from `settled_since` on, a day of
    ending. Raises `PublishConflict` when another run moved one of them since `seen`.
    """
    before = [seen.get(key) for key in zones]
    moved = connection.execute(
        statement("watermarks/advance_steps"),
        {
            "organization_ids": list(zones),
            "seen_run_ids": [was and was.run_id for was in before],
            "time_zones": [zone for zone, _ in zones.values()],
            "zone_offsets": [offsets for _, offsets in zones.values()],
            "horizon": horizon,
            "incarnation": incarnation,
            "extracted_at": extracted_at,
            "facts_table_id": facts.table_id,
            "published_version": facts.version,
            "definition_version": definition_version,
            "run_id": run_id,
            "settled_since": settled_since,
        },
    ).rowcount
    if moved != len(zones):
        raise PublishConflict


def published_steps_by(
    connection: psycopg.Connection, run_id: UUID, organization_ids: Collection[UUID]
) -> bool:
    """Whether the last publication of the steps of all of these organizations was this run's."""
    found = find_step_progress(connection)
    return all(key in found and found[key].run_id == run_id for key in organization_ids)
