"""Each read of rows that may hold personal health data is written down first, for good."""

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pipelines.errors import AccessNotLogged, AccessUnexplained, JobNotVisible, SchemaMissing
from pipelines.executions.transactions import AccessLog
from pipelines.executions.unit_of_work import UnitOfWork
from pipelines.postgres.connections import Databases
from pipelines.postgres.grants import grants
from pipelines.query.tenant import admit
from pipelines.settings import Settings
from tests.conftest import with_database, with_user
from tests.postgres.executions.conftest import Begin, plant_child, plant_screenshot
from tests.support.log_lines import line
from tests.support.planting import Tenant, new_id, plant_job

READS: dict[str, Callable[[UnitOfWork, object], object]] = {
    "jobs.result": lambda work, job: work.jobs.find_result(job),
    "execution_screenshots": lambda work, job: work.screenshots.find_by_job(job),
    "execution_rag_rules": lambda work, job: work.rag_rules.find_by_job(job),
    "execution_logs": lambda work, job: work.logs.find_by_job(job),
    "execution_logs of errors": lambda work, job: work.logs.find_errors_by_job(job),
    "execution_logs by level": lambda work, job: work.logs.get_level_counts(job),
}


@pytest.fixture
def job(source: psycopg.Connection, acme: Tenant) -> object:
    """A job with a result, a screenshot, rules and an error in its log."""
    job = plant_job(source, acme)
    plant_screenshot(source, acme, job)
    plant_child(source, acme, job, "execution_rag_rules")
    plant_child(source, acme, job, "execution_logs", sequence=0, level="ERROR")
    return job


@pytest.mark.every_postgres
@pytest.mark.parametrize("accessed", READS)
def test_a_read_is_logged_even_if_the_unit_of_work_is_rolled_back(
    source: psycopg.Connection, begin: Begin, acme: Tenant, job: object, accessed: str
) -> None:
    """The record has reader, tenant, rows, time and purpose; other data is read without a record."""
    with begin(acme) as work:
        work.jobs.find_by_id(job)
        work.workflows.find_definition(acme.workflows[0])
        before = logged(source)
        assert READS[accessed](work, job)
        during = logged(source)

    assert before == []
    said = ("dr.who", acme.organization, accessed.split()[0], job, "treatment", True)
    assert during == logged(source) == [said]


def test_pictures_of_all_jobs_are_logged_once(
    source: psycopg.Connection, begin: Begin, acme: Tenant, job: object
) -> None:
    """An access names no job when it is not about one; a second page is a second access."""
    with begin(acme) as work:
        (screenshot,) = work.screenshots.find_by_organization()
        work.screenshots.find_by_organization(after=(screenshot.captured_at, screenshot.id))

    assert screenshot.job_id == job
    assert (
        logged(source)
        == [("dr.who", acme.organization, "execution_screenshots", None, "treatment", True)] * 2
    )


@pytest.mark.parametrize("accessed", READS)
def test_a_read_that_cannot_be_logged_gives_no_rows(
    source: psycopg.Connection, begin: Begin, acme: Tenant, job: object, accessed: str
) -> None:
    """Whatever keeps the log from being written keeps the rows from being given out."""
    source.execute("ALTER TABLE orchestration.phi_access_log RENAME TO elsewhere")

    with begin(acme) as work, pytest.raises(AccessNotLogged):
        READS[accessed](work, job)


@pytest.mark.parametrize("accessed", READS)
def test_the_log_is_written_before_the_rows_are_read(
    source: psycopg.Connection, begin: Begin, acme: Tenant, job: object, accessed: str
) -> None:
    """A program that dies in between has looked at less than is written, never at more."""
    table = re.split(r"[. ]", accessed)[0]
    source.execute(f"ALTER TABLE orchestration.{table} RENAME TO elsewhere")

    with begin(acme) as work, pytest.raises(SchemaMissing):
        READS[accessed](work, job)

    assert len(logged(source)) == 1


@pytest.mark.parametrize(("accessed_by", "purpose"), [("", "treatment"), ("dr.who", ""), (" ", "\n")])
def test_an_access_is_somebodys_and_for_something(
    begin: Begin, acme: Tenant, accessed_by: str, purpose: str
) -> None:
    """Otherwise the unit of work does not begin."""
    with pytest.raises(AccessUnexplained), begin(acme, reader=(accessed_by, purpose)):
        pass


def test_an_access_log_needs_no_connection_before_it_is_used() -> None:
    """A unit of work that reads nothing of the kind costs one connection, not two."""

    def opened() -> None:
        raise AssertionError

    AccessLog(opened, admit(new_id()), accessed_by="dr.who", purpose="treatment").close()


@pytest.mark.every_postgres
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orchestration.phi_access_log SET purpose = 'none'",
        "DELETE FROM orchestration.phi_access_log",
        "TRUNCATE orchestration.phi_access_log",
    ],
)
def test_what_was_logged_stays(
    server: str, source: psycopg.Connection, begin: Begin, acme: Tenant, job: object, change: str
) -> None:
    """The owner of the table has no right to change it, and a superuser, who needs none, meets a trigger."""
    with begin(acme) as work:
        work.jobs.find_result(job)
    before = logged(source)

    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        source.execute(change)
    with psycopg.connect(with_database(server, source.info.dbname), autocommit=True) as superuser:
        for role in ("origin", "replica"):
            superuser.execute(f"SET session_replication_role = {role}")
            with pytest.raises(InsufficientPrivilege, match="append-only"):
                superuser.execute(change)

    assert logged(source) == before != []


@pytest.fixture
def application(source: psycopg.Connection, databases: Databases, settings: Settings) -> Iterator[str]:
    """The database, entered as a role that may do what `execmetrics grants --application` prints."""
    role = f"application_of_{source.info.dbname}"
    source.execute(f"CREATE ROLE {role} LOGIN")
    source.execute(f"GRANT {role} TO CURRENT_USER")
    printed = grants(settings, source_reader="r", writer="w", dashboard_reader="d", application=role)
    for statement in printed[-1].statements:
        source.execute(statement.replace("ON DATABASE execmetrics", f"ON DATABASE {source.info.dbname}"))
    yield with_user(databases.source_url, role)
    source.execute(f"DROP OWNED BY {role}")
    source.execute(f"DROP ROLE {role}")


@pytest.mark.every_postgres
def test_an_application_can_work_and_only_add_to_the_log(
    application: str, source: psycopg.Connection, begin: Begin, acme: Tenant
) -> None:
    """What `execmetrics grants` prints for it is enough for every repository, and no more."""
    with begin(acme, application) as work:
        workflow = work.workflows.create("Intake")
        work.workflows.create_definition(workflow.id, {"steps": ["x" * 1_048_576]})
        job = work.jobs.create(workflow.id, result={"patient": "private"})
        work.rag_rules.create(job.id, payers=[], rules=[])
        assert work.logs.create_many([line(job.id, number) for number in range(2_000)]) == 2_000
        assert work.jobs.find_result(job.id).result == {"patient": "private"}
        assert work.rag_rules.delete(job.id)
        assert work.jobs.delete(job.id)
        assert work.workflows.delete(workflow.id)
        with pytest.raises(JobNotVisible):
            work.rag_rules.create(job.id, payers=[], rules=[])
        work.commit()

    with psycopg.connect(application, autocommit=True) as program:
        for forbidden in (
            "SELECT FROM orchestration.phi_access_log",
            "UPDATE orchestration.phi_access_log SET purpose = ''",
            "DELETE FROM orchestration.jobs",
        ):
            with pytest.raises(InsufficientPrivilege):
                program.execute(forbidden)
    assert len(logged(source)) == 1


def logged(source: psycopg.Connection) -> list[tuple[object, ...]]:
    """What the log says, and whether its time is about now."""
    return source.execute(
        "SELECT accessed_by, organization_id, accessed, job_id, purpose,"
        " accessed_at BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp()"
        " FROM orchestration.phi_access_log ORDER BY id"
    ).fetchall()
