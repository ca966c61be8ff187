"""What execution_metadata should say, by a plain join of a test's own, and how to look at what it says."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

# As text, because a driver cannot hold every time that PostgreSQL can.
_TRUE = """
    SELECT
        j.id, j.organization_id, j.workflow_id, w.name, j.client_id, c.name, j.initiator_type, j.status::text,
        j.created_at::text, j.started_at::text, j.completed_at::text, j.deleted_at::text
    FROM orchestration.jobs j
    JOIN orchestration.workflows w ON w.id = j.workflow_id
    LEFT JOIN orchestration.clients c ON c.id = j.client_id
"""
_STORED = """
    SELECT
        job_id, organization_id, workflow_id, workflow_name, client_id, client_name, initiator_type,
        status::text, created_at::text, started_at::text, completed_at::text, deleted_at::text
    FROM orchestration.execution_metadata
"""

Row = tuple[Any, ...]


def wrong(source: psycopg.Connection, organizations: Sequence[UUID] = ()) -> list[Row]:
    """The rows that are in the copy or in the join, and not in both; of some organizations, or of all."""
    both = f"(({_TRUE}) EXCEPT ALL ({_STORED})) UNION ALL (({_STORED}) EXCEPT ALL ({_TRUE}))"
    return [row for row in source.execute(both).fetchall() if not organizations or row[1] in organizations]


def copies(source: psycopg.Connection) -> dict[UUID, Row]:
    """By job, the version of its row and when a sync wrote it: writing a row anew changes both."""
    select = "SELECT job_id, xmin::text, ctid::text, last_synced_at FROM orchestration.execution_metadata"
    return {row[0]: row[1:] for row in source.execute(select)}


def written_between(before: dict[UUID, Row], after: dict[UUID, Row]) -> set[UUID]:
    """The jobs whose rows came, went or were written anew."""
    return {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}
