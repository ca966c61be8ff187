"""The schema that we migrate ourselves is read as it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines.cli.main import main
from tests.conftest import CreateDatabase, with_database
from tests.support.planting import plant_job, plant_tenant
from tests.support.prisma_application import statements_of


@pytest.fixture
def source(
    create_database: CreateDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    """A connection to a source of our own making, which the command line looks at."""
    url = create_database()
    monkeypatch.setenv("EXECMETRICS_DATABASE_URL", url)
    monkeypatch.setenv("EXECMETRICS_HOME", str(tmp_path))
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_a_table_of_ours_that_lacks_something_is_given_it(
    source: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that the contract has and an older table does not, and an index that somebody dropped."""
    source.execute("ALTER TABLE orchestration.organizations DROP COLUMN time_zone, DROP COLUMN deleted_at")
    source.execute("DROP INDEX orchestration.jobs_by_updated_at")

    sick = main(["doctor"])
    capsys.readouterr()
    main(["doctor", "--sql"])
    for statement in statements_of(capsys.readouterr().out):
        source.execute(statement)

    assert sick == 1
    assert main(["doctor"]) == 0
    assert "Nothing to mend" in capsys.readouterr().out


def test_a_role_is_told_what_it_may_not_read(
    source: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another role's rights are looked at, those on row versions included; none on the payload is given."""
    role = f"reader of {source.info.dbname}"
    source.execute(f'CREATE ROLE "{role}"')
    source.execute(f'GRANT "{role}" TO CURRENT_USER')
    source.execute(f'GRANT USAGE ON SCHEMA orchestration TO "{role}"')
    source.execute(
        f'GRANT SELECT (id, name, time_zone, deleted_at) ON orchestration.organizations TO "{role}"'
    )

    sick = main(["doctor", "--role", role, "--json"])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    for statement in finding["sql"]:
        source.execute(statement)
    healthy = main(["doctor", "--role", role])
    payload = source.execute(
        "SELECT has_column_privilege(%s, 'orchestration.jobs', 'result', 'SELECT')", [role]
    ).fetchone()
    source.execute(f'DROP OWNED BY "{role}"')
    source.execute(f'DROP ROLE "{role}"')

    assert (sick, healthy, payload) == (1, 0, (False,))
    assert finding["where"].startswith(
        '"orchestration"."organizations".xmin, "orchestration"."organizations".tableoid, '
    )


def test_a_function_that_may_not_be_called_is_found(
    server: str, source: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some servers take functions of the control file from everybody; the grant that mends it is printed."""
    with psycopg.connect(with_database(server, source.info.dbname), autocommit=True) as admin:
        admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")

        sick = main(["doctor", "--json"])
        (finding,) = json.loads(capsys.readouterr().out)["findings"]
        refused = main(["refresh"])
        said = capsys.readouterr().err
        for statement in finding["sql"]:
            admin.execute(statement)

    assert (sick, refused, main(["doctor"])) == (1, 2, 0)
    assert (finding["what"], finding["where"]) == ("missing_function", "pg_control_system()")
    assert "permission denied for function pg_control_system" in said


@pytest.mark.every_postgres
def test_there_is_nothing_to_do(source: psycopg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no findings, full or empty, and no SQL is printed."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    assert main(["doctor"]) == 0
    assert "Nothing to mend" in capsys.readouterr().out
    assert main(["doctor", "--sql"]) == 0
    assert capsys.readouterr().out == ""
