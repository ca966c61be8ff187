"""Of many lines the key checks one of each job, and not one line is stored that it would have refused."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from uuid import UUID

import hypothesis
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from pipelines.errors import JobNotVisible, RowRefused, UnitOfWorkEnded, WorkflowNotVisible
from pipelines.executions import log_copying
from pipelines.executions.execution_records import NewLogLine
from pipelines.executions.unit_of_work import UnitOfWork, unit_of_work
from pipelines.postgres.connections import Databases
from pipelines.query.tenant import admit
from pipelines.settings import Settings
from tests.conftest import OWNER, with_database, with_user
from tests.postgres.executions.conftest import Begin
from tests.support.log_lines import line
from tests.support.planting import DAY, NOON, Tenant, new_id, plant_job

pytestmark = pytest.mark.every_postgres

# A line of each of so many jobs waits for the key at once.
ONE, ALL = 1, 1 << 20

Lines = Iterator[NewLogLine]

_numbers = count()


@pytest.fixture(autouse=True, params=[ONE, ALL])
def three_are_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three lines are large; the first lines of jobs are checked one by one, or together.

    Of three jobs, one is forgotten.
    """
    monkeypatch.setattr(log_copying, "_FEW", 3)
    monkeypatch.setattr(log_copying, "_JOBS", 2)
    monkeypatch.setattr(log_copying, "_HELD", request.param)


@pytest.fixture
def loader(server: str, databases: Databases) -> Iterator[str]:
    """The URL of a role that may do what the owner may, and leave out keys."""
    name = f"loader {next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE ROLE "{name}" LOGIN IN ROLE {OWNER}')
        admin.execute(f'GRANT SET ON PARAMETER session_replication_role TO "{name}"')
        yield with_user(databases.source_url, name)
        admin.execute(f'DROP OWNED BY "{name}"')
        admin.execute(f'DROP ROLE "{name}"')


@pytest.fixture
def begin(loader: str, settings: Settings) -> Begin:
    """A function that begins a unit of work of a tenant as the loader, or by another URL."""

    def begun(tenant: Tenant, url: str = loader) -> AbstractContextManager[UnitOfWork]:
        return unit_of_work(
            url, settings, admit(tenant.organization), accessed_by="dr.who", purpose="treatment"
        )

    return begun


# Every example has jobs of its own.
@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(of_jobs=st.lists(st.integers(0, 3), max_size=12))
def test_many_lines_are_stored_as_they_come(
    source: psycopg.Connection, begin: Begin, acme: Tenant, of_jobs: list[int]
) -> None:
    """Each one once, in whatever order their jobs come."""
    jobs = [plant_job(source, acme) for _ in range(4)]
    said = [line(jobs[job], number) for number, job in enumerate(of_jobs)]

    with begin(acme) as work:
        written = work.logs.create_many(iter(said))
        work.commit()

    stored = source.execute(
        "SELECT job_id, sequence, message FROM orchestration.execution_logs WHERE job_id = ANY(%s)"
        " ORDER BY sequence",
        [jobs],
    ).fetchall()
    assert stored == [(each.job_id, each.sequence, each.message) for each in said]
    assert written == len(said)


@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_line_of_a_foreign_job_is_noticed_wherever_it_comes(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant, place: int
) -> None:
    """Not one line of the batch is kept, nor what was written before; whoever goes on cannot commit."""
    jobs = [plant_job(source, acme) for _ in range(3)]

    for foreign in (plant_job(source, neighbour), new_id()):
        said = [line(jobs[number % 3], number) for number in range(9)]
        said.insert(place, line(foreign))
        with begin(acme) as work:
            work.logs.create_many([line(jobs[0])])
            with pytest.raises(JobNotVisible):
                work.logs.create_many(said)
            with pytest.raises(UnitOfWorkEnded):
                work.commit()

    assert stored(source) == 0


def test_lines_that_cannot_be_made_leave_none_behind(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """Also when the failure is the caller's own, and the caller goes on."""
    jobs = [plant_job(source, acme) for _ in range(2)]

    def cut_off() -> Lines:
        for number in range(300):
            yield line(jobs[number % 2], number)
        raise KeyError

    with begin(acme) as work:
        with pytest.raises(KeyError):
            work.logs.create_many(cut_off())
        with pytest.raises(UnitOfWorkEnded):
            work.commit()
    with begin(acme) as work, pytest.raises(RowRefused, match="sequence_is_not_negative"):
        work.logs.create_many([*(line(jobs[0], number) for number in range(6)), line(jobs[0], -1)])

    assert stored(source) == 0


def test_a_job_that_is_deleted_meanwhile_takes_its_lines_along(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """Before the key has asked, the batch is refused; afterwards the deletion waits for it."""
    early, late = plant_job(source, acme), plant_job(source, acme)
    refused = 0

    for lines_before, others_first in ((0, 2_000), (2_000, 2_000)):
        gone = plant_job(source, acme)

        def meanwhile(gone: UUID = gone, before: int = lines_before, more: int = others_first) -> Lines:
            yield from (line(gone, number) for number in range(before))
            yield from (line(late, number) for number in range(more))
            source.execute("SET lock_timeout = '50ms'")
            # Whoever is checked one by one is locked by now.
            with suppress(psycopg.errors.LockNotAvailable):
                source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [gone])
            yield line(gone, before)

        with begin(acme) as work:
            try:
                work.logs.create_many(meanwhile())
                work.commit()
            except JobNotVisible:
                refused += 1
        ((left,),) = source.execute(
            "SELECT count(*) FROM orchestration.execution_logs AS l WHERE NOT EXISTS"
            " (SELECT FROM orchestration.jobs AS j WHERE j.id = l.job_id)"
        ).fetchall()
        assert left == 0
    assert refused > 0
    source.execute("TRUNCATE orchestration.execution_logs")
    source.execute("SET lock_timeout = '50ms'")
    with begin(acme) as work:
        work.logs.create_many([line(early, number) for number in range(6)])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [early])
        work.commit()
    kept = stored(source)
    source.execute("DELETE FROM orchestration.jobs WHERE id = %s", [early])

    assert (kept, stored(source)) == (6, 0)


def test_the_other_keys_of_the_unit_of_work_hold(
    source: psycopg.Connection, begin: Begin, acme: Tenant, neighbour: Tenant
) -> None:
    """What is left out is left out of these lines alone."""
    job = plant_job(source, acme)

    with begin(acme) as work:
        work.logs.create_many([line(job, number) for number in range(6)])
        with pytest.raises(WorkflowNotVisible):
            work.jobs.create(neighbour.workflows[0])


def test_the_key_is_asked_once_for_each_job(
    source: psycopg.Connection, databases: Databases, begin: Begin, loader: str, acme: Tenant
) -> None:
    """By a role that may leave it out; by another, the owner too, for each line, and the same is stored."""
    jobs = [plant_job(source, acme) for _ in range(2)]
    said = [line(jobs[number % 2], number) for number in range(40)]

    def asked(url: str) -> int:
        before = lookups(source)
        with begin(acme, url) as work:
            work.logs.create_many(said)
            work.commit()
        return lookups(source) - before

    assert (asked(loader), asked(databases.source_url)) == (2, 40)
    assert stored(source) == 80


def test_a_role_that_may_only_insert_writes_large_batches(
    source: psycopg.Connection, databases: Databases, server: str, begin: Begin, acme: Tenant
) -> None:
    """Nothing that is asked or locked before takes a privilege of its own."""
    name = f"writer of logs {next(_numbers)}"
    job = plant_job(source, acme)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE ROLE "{name}" LOGIN')
    source.execute(f'GRANT USAGE ON SCHEMA orchestration TO "{name}"')
    source.execute(f'GRANT INSERT ON orchestration.execution_logs TO "{name}"')

    try:
        with begin(acme, with_user(databases.source_url, name)) as work:
            work.logs.create_many([line(job, number) for number in range(6)])
            work.commit()
    finally:
        source.execute(f'REVOKE ALL ON orchestration.execution_logs FROM "{name}"')
        source.execute(f'REVOKE ALL ON SCHEMA orchestration FROM "{name}"')
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'DROP ROLE "{name}"')

    assert stored(source) == 6


@pytest.mark.parametrize("table", ["execution_logs", "execution_logs_default"])
def test_what_else_a_line_sets_off_is_never_left_out(
    source: psycopg.Connection, begin: Begin, acme: Tenant, table: str
) -> None:
    """A team's own trigger sees every line, and its own key is asked, on the table or on a month of it."""
    job = plant_job(source, acme)
    said = [line(job, number) for number in range(6)]
    source.execute(
        "CREATE TABLE public.heard (sequence int);"
        "CREATE FUNCTION public.hear() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.heard VALUES (NEW.sequence); RETURN NULL; END $$;"
        f"CREATE TRIGGER hear AFTER INSERT ON orchestration.{table} FOR EACH ROW"
        " EXECUTE FUNCTION public.hear()"
    )

    with begin(acme) as work:
        work.logs.create_many(said)
        work.commit()
    ((heard,),) = source.execute("SELECT count(*) FROM public.heard").fetchall()
    source.execute(
        f"DROP TRIGGER hear ON orchestration.{table};"
        "CREATE TABLE public.steps (name text PRIMARY KEY);"
        f"ALTER TABLE orchestration.{table} ADD FOREIGN KEY (step_name) REFERENCES public.steps"
    )

    assert heard == 6
    with begin(acme) as work, pytest.raises(RowRefused, match="step_name_fkey"):
        work.logs.create_many([*said, line(job, 6, step_name="unknown")])


@pytest.mark.parametrize(
    ("unusual", "asked"),
    [
        # It does not ask for the two lines of January, the first of their jobs.
        ("ALTER TABLE orchestration.execution_logs_default DISABLE TRIGGER ALL", 38),
        (
            "ALTER TABLE orchestration.execution_logs ALTER CONSTRAINT"
            " execution_logs_job_is_of_the_same_organization DEFERRABLE",
            40,
        ),
    ],
    ids=["disabled", "deferrable"],
)
def test_a_key_that_is_not_in_force_as_usual_is_asked_for_each_line(
    source: psycopg.Connection, server: str, begin: Begin, acme: Tenant, unusual: str, asked: int
) -> None:
    """Disabled in a month, or deferred: nothing is left out then."""
    jobs = [plant_job(source, acme) for _ in range(2)]
    source.execute(
        "CREATE TABLE orchestration.execution_logs_2024_02 PARTITION OF orchestration.execution_logs"
        " FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-03-01 00:00+00')"
    )
    database = source.info.dbname
    with psycopg.connect(with_database(server, database), autocommit=True) as admin:
        admin.execute(unusual)
    said = [line(jobs[number % 2], number, timestamp=NOON + (number > 1) * DAY) for number in range(40)]

    before = lookups(source)
    with begin(acme) as work:
        work.logs.create_many(said)
        work.commit()

    assert lookups(source) - before == asked


def test_what_a_failure_says_is_not_told_to_the_server(
    source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """It may hold a value, and the server writes what it is told into its log."""
    job, secret = plant_job(source, acme), f"patient {new_id()}"

    def cut_off() -> Lines:
        yield from (line(job, number) for number in range(300))
        raise KeyError(secret)

    with begin(acme) as work, pytest.raises(KeyError, match=secret):
        work.logs.create_many(cut_off())

    ((data,),) = source.execute("SHOW data_directory").fetchall()
    log = (Path(data) / "server.log").read_text("utf-8", errors="replace")
    assert "COPY from stdin failed" in log
    assert secret not in log


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_environment_does_not_say_what_bytes_mean(
    source: psycopg.Connection, begin: Begin, acme: Tenant, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """A text is stored as it is written, whatever encoding a shell has for PostgreSQL."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)

    with begin(acme) as work:
        work.logs.create_many([line(plant_job(source, acme), message="Łódź")])
        work.commit()

    assert source.execute("SELECT message FROM orchestration.execution_logs").fetchone() == ("Łódź",)


def lookups(source: psycopg.Connection) -> int:
    """How often a row of jobs was looked for; other sessions say so when they end."""
    until = time.monotonic() + 20
    while source.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend'"
    ).fetchone() != (1,):
        assert time.monotonic() < until
        time.sleep(0.02)
    source.execute("SELECT pg_stat_force_next_flush()")
    ((found,),) = source.execute(
        "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relid = 'orchestration.jobs'::regclass"
    ).fetchall()
    return int(found)


def stored(source: psycopg.Connection) -> int:
    """How many lines anybody can see."""
    ((lines,),) = source.execute("SELECT count(*) FROM orchestration.execution_logs").fetchall()
    return int(lines)
