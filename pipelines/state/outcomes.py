"""`analytics.refresh_outcomes`: what became of each organization in each run."""

from collections.abc import Collection
from uuid import UUID

import psycopg

from pipelines.postgres.statements import statement
from pipelines.subjects.restatements import Outcome
from pipelines.subjects.subject import Subject


def record(
    connection: psycopg.Connection,
    run_id: UUID,
    organization_ids: Collection[UUID],
    *,
    seconds: float,
    subject: Subject,
    error_class: str | None = None,
) -> None:
    """Record that a subject of these was published, or failed with an error of that class."""
    connection.execute(
        statement("state/record_outcomes"),
        {
            "run_id": run_id,
            "organization_ids": sorted(organization_ids),
            "subject": subject.name,
            "outcome": Outcome.FAILED if error_class else Outcome.PUBLISHED,
            "error_class": error_class,
            "milliseconds": round(seconds * 1000),
        },
    )
