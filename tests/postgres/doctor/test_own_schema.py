"""The schema that we migrate ourselves is read as it is."""

import psycopg
import pytest
from psycopg import Connection

from pipelines.cli.main import main
from tests import conftest
from tests.conftest import with_database
from tests.postgres.doctor.conftest import Doctor, Mend
from tests.support.planting import plant_job, plant_tenant

# A source of our own making.
databases, source = conftest.databases, conftest.source


def test_a_table_of_ours_that_lacks_something_is_given_it(
    doctor: Doctor, mend: Mend, source: Connection
) -> None:
    """Columns that the contract has and an older table does not, and an index that somebody dropped."""
    source.execute("ALTER TABLE orchestration.organizations DROP COLUMN time_zone, DROP COLUMN deleted_at")
    source.execute("DROP INDEX orchestration.jobs_by_updated_at")

    sick = doctor()
    mend()
    healthy = doctor()

    assert (sick.exit_code, healthy.exit_code) == (1, 0)
    assert "Nothing to mend" in healthy.stdout


def test_a_role_is_told_what_it_may_not_read(doctor: Doctor, source: Connection, reader: str) -> None:
    """Another role's rights are looked at, those on row versions included; none on the payload is given."""
    source.execute(f'GRANT USAGE ON SCHEMA orchestration TO "{reader}"')
    source.execute(
        f'GRANT SELECT (id, name, time_zone, deleted_at) ON orchestration.organizations TO "{reader}"'
    )

    sick = doctor("--role", reader, "--json")
    (finding,) = sick.document["findings"]
    for statement in finding["sql"]:
        source.execute(statement)
    healthy = doctor("--role", reader)

    payload = "SELECT has_column_privilege(%s, 'orchestration.jobs', 'result', 'SELECT')"
    assert source.execute(payload, [reader]).fetchone() == (False,)
    assert (sick.exit_code, healthy.exit_code) == (1, 0)
    assert finding["where"].startswith(
        '"orchestration"."organizations".xmin, "orchestration"."organizations".tableoid, '
    )


def test_a_function_that_may_not_be_called_is_found(
    server: str, doctor: Doctor, source: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some servers take functions of the control file from everybody; the grant that mends it is printed."""
    with psycopg.connect(with_database(server, source.info.dbname), autocommit=True) as admin:
        admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")

        sick = doctor("--json")
        (finding,) = sick.document["findings"]
        refused, said = main(["refresh"]), capsys.readouterr().err
        for statement in finding["sql"]:
            admin.execute(statement)

    assert (sick.exit_code, refused, doctor().exit_code) == (1, 2, 0)
    assert (finding["what"], finding["where"]) == ("missing_function", "pg_control_system()")
    assert "permission denied for function pg_control_system" in said


@pytest.mark.every_postgres
def test_there_is_nothing_to_do(doctor: Doctor, source: Connection) -> None:
    """It has no findings, full or empty, and no SQL is printed."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    healthy, script = doctor(), doctor("--sql")

    assert (healthy.exit_code, script.exit_code, script.stdout) == (0, 0, "")
    assert "Nothing to mend" in healthy.stdout
