"""When the answer to a commit is lost, the server is asked how the transaction ended, and nobody guesses."""

from collections.abc import Iterator

import psycopg
import pytest

from pipelines.errors import CommitUnknown, DatabaseUnreachable
from pipelines.postgres.connections import Databases
from tests.postgres.executions.conftest import Begin, count_rows
from tests.support.faults.wires import Cut, Rule, Wire, laid
from tests.support.planting import Tenant

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def wire(databases: Databases) -> Iterator[Wire]:
    """A wire to the database of executions."""
    with laid(databases.source_url) as wire:
        yield wire


def test_a_lost_answer_is_looked_up(
    wire: Wire, source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """What was committed is, what was not is not, and what cannot be found out is called unknown."""
    create_a_job(begin, wire, acme)
    commit = wire.told().statements - 1

    wire.told(Rule(commit, Cut.AFTER))
    create_a_job(begin, wire, acme)
    assert (wire.told().cuts, count_rows(source, "jobs")) == (1, 2)

    wire.told(Rule(commit, Cut.BEFORE))
    with pytest.raises(DatabaseUnreachable):
        create_a_job(begin, wire, acme)
    assert (wire.told().cuts, count_rows(source, "jobs")) == (1, 2)

    wire.told(Rule(commit, Cut.AFTER, then_refuse=True))
    with pytest.raises(CommitUnknown):
        create_a_job(begin, wire, acme)
    assert (wire.told().cuts, count_rows(source, "jobs")) == (1, 3)


def test_nothing_can_be_lost_of_what_only_read(wire: Wire, begin: Begin, acme: Tenant) -> None:
    """A transaction that wrote nothing ends well, whatever became of its last answer."""
    with begin(acme, wire.url) as work:
        work.workflows.find_by_id(acme.workflows[0])
        work.commit()
    wire.told(Rule(wire.told().statements - 1, Cut.AFTER, then_refuse=True))

    with begin(acme, wire.url) as work:
        work.workflows.find_by_id(acme.workflows[0])
        work.commit()

    assert wire.told().cuts == 1


def test_a_server_that_is_gone_meanwhile_is_a_sentence(
    wire: Wire, source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """And the end of the unit of work adds no other: there is nothing left to roll back."""
    wire.told(Rule(3, Cut.BEFORE))

    with begin(acme, wire.url) as work:
        work.jobs.create(acme.workflows[0])
        with pytest.raises(DatabaseUnreachable):
            work.jobs.create(acme.workflows[0])

    assert count_rows(source, "jobs") == 0


def create_a_job(begin: Begin, wire: Wire, tenant: Tenant) -> None:
    """One unit of work by way of the wire."""
    with begin(tenant, wire.url) as work:
        work.jobs.create(tenant.workflows[0])
        work.commit()
