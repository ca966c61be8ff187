"""What a unit of work keeps, and what it does not."""

from contextlib import suppress

import psycopg
import pytest

from pipelines.errors import ExecutionQueryError, RowRefused, UnitOfWorkEnded, UnitOfWorkNested
from pipelines.subjects.jobs import Status
from tests.postgres.executions.conftest import Begin, count_rows
from tests.support.planting import Tenant


def test_what_is_committed_is_kept_together(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """Nobody sees anything of a unit of work before its end."""
    with begin(acme) as work:
        work.jobs.create(acme.workflows[0])
        work.jobs.create(acme.workflows[1])
        before = count_rows(source, "jobs")
        work.commit()
        after = count_rows(source, "jobs")

    assert (before, after) == (0, 2)


def test_without_a_commit_nothing_is_kept(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """Neither at the end nor after a failure: whoever means it says so."""
    with begin(acme) as work:
        work.jobs.create(acme.workflows[0])
    with suppress(KeyError), begin(acme) as work:
        work.jobs.create(acme.workflows[0])
        raise KeyError

    assert count_rows(source, "jobs") == 0


def test_a_unit_of_work_is_committed_once(source: psycopg.Connection, begin: Begin, acme: Tenant) -> None:
    """What would be written after it would be lost silently, so it is refused."""
    with begin(acme) as work:
        work.jobs.create(acme.workflows[0])
        work.commit()
        with pytest.raises(UnitOfWorkEnded):
            work.jobs.create(acme.workflows[0])
        with pytest.raises(UnitOfWorkEnded):
            work.commit()
    with pytest.raises(UnitOfWorkEnded):
        work.jobs.find_by_id(acme.workflows[0])

    assert work.ended
    assert count_rows(source, "jobs") == 1


def test_after_a_refusal_nothing_can_be_committed(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """PostgreSQL would answer COMMIT with a rollback, and nobody would notice."""
    with begin(acme) as work:
        work.jobs.create(acme.workflows[0])
        with pytest.raises(RowRefused, match="finished_has_completed_at"):
            work.jobs.create(acme.workflows[0], status=Status.COMPLETED)
        with pytest.raises(ExecutionQueryError):
            work.commit()

    assert count_rows(source, "jobs") == 0


def test_units_of_work_are_not_nested(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """A second one inside would commit a part; after the end of the first one, another may begin."""
    with begin(acme) as work:
        work.jobs.create(acme.workflows[0])
        with pytest.raises(UnitOfWorkNested), begin(neighbour):
            pass
        work.commit()
        with begin(acme) as another:
            another.jobs.create(acme.workflows[0])
            another.commit()

    assert count_rows(source, "jobs") == 2
